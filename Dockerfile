# The submission: the label-only service with its weights baked in.
#
#   docker build -t trades-bob .                                   with the package index's torch (CUDA) and model/release
#   docker build -t trades-bob --build-context wheels=DIR .        wheels of DIR first, such as torch's CPU build
#   docker build -t trades-bob --build-context bundle=DIR .        another bundle than model/release
#
# docker/build fills in the labels; docs/deploy.md explains every argument.
ARG BASE=python:3.11-slim-bookworm

# Two stages that --build-context replaces. The brackets let a tree without a bundle come as far as the check below.
FROM scratch AS wheels
FROM scratch AS bundle
COPY mode[l]/release /

FROM ${BASE} AS weights
ARG WEIGHTS_SHA256=""
COPY --from=bundle / /bundle/
COPY docker/check_bundle.py /
RUN python /check_bundle.py /bundle "${WEIGHTS_SHA256}"

# What must be installed and nothing else of pyproject.toml: a new version or tool setting keeps the large layer below.
FROM ${BASE} AS requirements
ARG TORCH_BUILD=""
WORKDIR /requirements
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN python requirements.py "${TORCH_BUILD}" out

FROM ${BASE} AS packages
ARG PIP_EXTRA_INDEX_URL=""
RUN python -m venv --without-pip /opt/venv
COPY --from=requirements /requirements/out /requirements
# A fifth of it is what only a compiler reads, build tools and the packages' own tests; nothing here runs them. pip's cache
# is a mount, so it is in no layer; the linter knows that of one folder alone, and this is another.
# hadolint ignore=DL3042
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/var/cache/pip \
    PIP_CACHE_DIR=/var/cache/pip PIP_FIND_LINKS=/wheels pip --python /opt/venv/bin/python install \
        --constraint /requirements/constraints.txt --requirement /requirements/requirements.txt \
 && find /opt/venv -type d "(" -name test -o -name tests -o -path "*/torch/include" ")" -prune -exec rm -rf {} + \
 && find /opt/venv -type f "(" -name "*.h" -o -name "*.hpp" -o -name "*.cuh" -o -name "*.a" ")" -delete \
 && find /opt/venv -path "*/torch/bin/*" "(" -name "test_*" -o -name "protoc*" ")" -delete

# The project as a wheel, without model/release: the weights are a layer of their own.
FROM ${BASE} AS project
RUN pip install --no-cache-dir "hatchling==1.33.0"
COPY . /project
WORKDIR /project
RUN rm -rf model/release && python -m hatchling build --target wheel --directory /dist

FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
COPY --from=weights /bundle /bundle
COPY docker/healthcheck.py /
RUN --mount=type=bind,from=project,source=/dist,target=/dist \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-index /dist/*.whl \
 && install -d -o 10001 -g 10001 /report
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ORT_DISABLE_TELEMETRY=1 \
    TRADES_BOB_BUNDLE=/bundle \
    TRADES_BOB_HOST=0.0.0.0
# Python's last resort for temporary files is the working directory. This one is memory and writable in any container, so
# the service also runs on a read-only root that has no /tmp.
WORKDIR /dev/shm
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --start-interval=1s --retries=3 \
    CMD ["python", "-I", "-S", "/healthcheck.py"]
CMD ["trades-bob", "serve"]
# Last, so that another label repeats no layer.
ARG VERSION=0.1.0
ARG REVISION=""
ARG WEIGHTS_SHA256=""
LABEL org.opencontainers.image.title="trades-bob" \
      org.opencontainers.image.description="A robust bird-or-bicycle classifier that answers bird, bicycle or abstain" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      trades-bob.weights-sha256="${WEIGHTS_SHA256}"
