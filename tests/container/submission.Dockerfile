# A submission that is sound, or wrong in one way: what `trades-bob check` is tried on.
ARG IMAGE=trades-bob
FROM ${IMAGE}
COPY submission.py /submission.py
ARG FAULT=none
ARG UID=10001
USER ${UID}
ENV FAULT=${FAULT}
# Its answers come from no weights, whatever the image beneath it says.
LABEL trades-bob.weights-sha256=""
HEALTHCHECK NONE
CMD ["python", "/submission.py", "--host", "0.0.0.0", "--port", "8000"]
