# One image for every part of Sluice but PostgreSQL: server, provision, worker, watcher, and runs in a cluster. Which of
# them a container is, its command says; so what is healthy is said in compose.yaml. How to use it: docs/hosts.md

FROM python:3.11-slim-bookworm AS build
WORKDIR /srv/sluice
RUN python -m venv .venv
COPY requirements-image.txt ./
# As in the Makefile: every package by its hash, nothing to resolve. pip compiles bytecode; without it every start takes
# three times as long.
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements-image.txt
COPY . ./
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && .venv/bin/python -m compileall -q deployments flows sluice tasks

FROM python:3.11-slim-bookworm
# A number, so that a cluster can see that it is not root.
RUN useradd --uid 10001 --home-dir /var/lib/sluice --create-home sluice \
    && install -d -o sluice -g sluice /var/lib/sluice/inbox /var/lib/sluice/archive /var/lib/sluice/failed
COPY --from=build /srv/sluice /srv/sluice
# Prefect copies its UI to where it serves it from; the environment itself is not writable.
ENV PATH=/srv/sluice/.venv/bin:$PATH \
    SLUICE_HOME=/var/lib/sluice \
    SLUICE_INBOX=/var/lib/sluice/inbox \
    PREFECT_SERVER_UI_STATIC_DIRECTORY=/var/lib/sluice/ui
WORKDIR /srv/sluice
USER 10001
CMD ["python", "-m", "deployments.worker"]
