# A submission that is sound, or wrong in one way: what `trades-bob check` is tried on.
ARG IMAGE=trades-bob
FROM ${IMAGE}
COPY submission.py /submission.py
ARG FAULT=none
ARG UID=10001
USER ${UID}
ENV FAULT=${FAULT}
HEALTHCHECK NONE
CMD ["python", "/submission.py", "--host", "0.0.0.0", "--port", "8000"]
