# One image for each application, with the code that it needs and nobody else's.   docker buildx bake
#
# All share one layer with the locked dependencies. Nothing runs in the final stages, so that images for another
# architecture need no emulation. A directory wheels/ beside this file is installed from instead of an index, and a
# CA certificate that stands between here and the index is the build secret `ca`.
ARG PYTHON=python:3.13-slim-trixie

FROM --platform=$BUILDPLATFORM ${PYTHON} AS builder
ARG BUILDARCH
ARG TARGETARCH
ENV PIP_CERT=/ca.pem PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/service.txt requirements/loadtest.txt wheels* ./
# Where wheels come from, and for which machine.
RUN set -eu; cp /etc/ssl/certs/ca-certificates.crt /ca.pem; \
    { echo '[install]'; echo 'only-binary = :all:'; \
      if ls ./*.whl >/dev/null 2>&1; then printf 'no-index = true\nfind-links = /build\n'; fi; \
      if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        case $TARGETARCH in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; *) echo "no wheels for $TARGETARCH" >&2; exit 1 ;; esac; \
        echo 'platform ='; \
        for glibc in 17 24 26 27 28 31 34 39; do echo "  manylinux_2_${glibc}_$machine"; done; echo "  manylinux2014_$machine"; \
      fi; } >/etc/pip.conf; cat /etc/pip.conf

FROM builder AS packages
RUN --mount=type=secret,id=ca,target=/ca.pem --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --require-hashes --no-compile --target=/app/site -r service.txt \
 && rm -rf /app/site/bin \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/site

FROM builder AS packages-of-loadtest
RUN --mount=type=secret,id=ca,target=/ca.pem --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --require-hashes --no-compile --target=/app/site -r loadtest.txt \
 && rm -rf /app/site/bin \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/site

FROM --platform=$BUILDPLATFORM ${PYTHON} AS code
WORKDIR /app
COPY . .
# The file system is read-only when it runs: what is not compiled now is compiled at every start.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash . && mkdir /ledger

FROM ${PYTHON} AS image
ARG VERSION=v1
ARG REVISION=unknown
# USER: for who asks the system for a name, since number 10001 has none.
ENV PYTHONPATH=/app:/app/site PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 USER=forum VERSION=$VERSION
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.base.name=docker.io/library/python:3.13-slim-trixie
WORKDIR /app
USER 10001:10001

FROM image AS kit
LABEL org.opencontainers.image.title=forum-kit \
      org.opencontainers.image.description="Moves modules between the monolith and the services"
COPY --from=packages /app/site ./site
COPY --from=code /app/strangler ./strangler
COPY --from=code /app/strangler.toml ./
ENTRYPOINT ["python", "-m", "strangler"]
CMD ["--help"]

# On SIGTERM readiness falls, DRAIN_SECONDS pass, then the server stops: see strangler/gunicorn.py. Give it
# DRAIN_SECONDS + GRACEFUL_SECONDS before it is killed. The same image is a worker (services.users.worker) and
# migrates its database (services.users.migrate).
FROM image AS application
ENV BIND=0.0.0.0:8000 DRAIN_SECONDS=5 GRACEFUL_SECONDS=20
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=15s --start-period=60s --retries=3 CMD ["python", "-S", "-m", "strangler.health"]
COPY --from=packages /app/site ./site
COPY --from=code /app/strangler ./strangler
COPY --from=code /app/strangler.toml ./
COPY --from=code /app/forum ./forum
ENTRYPOINT ["python", "-m"]

FROM application AS monolith
LABEL org.opencontainers.image.title=forum-monolith \
      org.opencontainers.image.description="The forum as one application on one database"
COPY --from=code /app/monolith ./monolith
CMD ["gunicorn", "-c", "python:strangler.gunicorn", "monolith.app:create_app()"]

FROM application AS users
LABEL org.opencontainers.image.title=forum-users \
      org.opencontainers.image.description="Accounts, sessions, and the keys that tokens are verified with"
COPY --from=code /app/services/__init__.py ./services/
COPY --from=code /app/services/users ./services/users
CMD ["gunicorn", "-c", "python:strangler.gunicorn", "services.users.app:create_app()"]

FROM application AS topics
LABEL org.opencontainers.image.title=forum-topics \
      org.opencontainers.image.description="The topics of the forum"
COPY --from=code /app/services/__init__.py ./services/
COPY --from=code /app/services/topics ./services/topics
CMD ["gunicorn", "-c", "python:strangler.gunicorn", "services.topics.app:create_app()"]

FROM application AS messages
LABEL org.opencontainers.image.title=forum-messages \
      org.opencontainers.image.description="The messages of the forum"
COPY --from=code /app/services/__init__.py ./services/
COPY --from=code /app/services/messages ./services/messages
CMD ["gunicorn", "-c", "python:strangler.gunicorn", "services.messages.app:create_app()"]

FROM application AS web
LABEL org.opencontainers.image.title=forum-web \
      org.opencontainers.image.description="The pages of the forum"
COPY --from=code /app/services/__init__.py ./services/
COPY --from=code /app/services/web ./services/web
CMD ["gunicorn", "-c", "python:strangler.gunicorn", "services.web.app:create_app()"]

FROM image AS loadtest
LABEL org.opencontainers.image.title=forum-loadtest \
      org.opencontainers.image.description="Load on the forum, a ledger of every write, and a check that no promise was broken"
COPY --from=packages-of-loadtest /app/site ./site
COPY --from=code /app/loadtest ./loadtest
COPY --from=code --chown=10001:10001 /ledger /ledger
VOLUME /ledger
ENTRYPOINT ["python", "-m", "loadtest"]
CMD ["--help"]
