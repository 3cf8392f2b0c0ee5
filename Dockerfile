# bcdseg serve, for research; not a medical device.
#
#   docker build -t bcdseg .                            on a CPU (the default target, cpu)
#   docker build -t bcdseg:gpu --target gpu .           on an NVIDIA GPU; run it with --gpus all
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 bcdseg

ARG PYTHON=3.12.11-slim-bookworm
ARG TORCH=2.15.0
ARG TORCHVISION=0.29.2

FROM python:${PYTHON} AS base
ENV PATH=/opt/bcdseg/bin:$PATH PYTHONUNBUFFERED=1

FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/bcdseg
WORKDIR /source

FROM build AS build-cpu
ARG TORCH TORCHVISION
ARG CPU_WHEELS=https://download.pytorch.org/whl/cpu
RUN pip install --index-url ${CPU_WHEELS} "torch==${TORCH}" "torchvision==${TORCHVISION}"
COPY pyproject.toml README.md LICENSE ./
COPY bcdseg bcdseg
# pyproject.toml has the versions
# hadolint ignore=DL3013
RUN pip install '.[serve,dicom,openvino]'

FROM build AS build-gpu
ARG TORCH TORCHVISION
RUN pip install "torch==${TORCH}" "torchvision==${TORCHVISION}"
COPY pyproject.toml README.md LICENSE ./
COPY bcdseg bcdseg
# pyproject.toml has the versions
# hadolint ignore=DL3013
RUN pip install '.[serve,dicom]'

FROM base AS run
# The cache keeps converted networks, and nothing of a user's.
ENV BCDSEG_CACHE=/var/cache/bcdseg
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin bcdseg \
    && install --directory --owner=bcdseg /var/cache/bcdseg
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["bcdseg"]
CMD ["serve", "--host", "0.0.0.0"]

FROM run AS gpu
COPY --from=build-gpu /opt/bcdseg /opt/bcdseg
RUN ["bcdseg", "info"]

FROM run AS cpu
COPY --from=build-cpu /opt/bcdseg /opt/bcdseg
# Converts the network once, so that a container starts with it.
RUN ["python", "-c", "import bcdseg, numpy; bcdseg.load().predict(numpy.zeros((64, 64), 'uint8'))"]
