# syntax=docker/dockerfile:1.7
# The image of every service of ours in docker-compose.yml and of deploy/: the official Airflow image, what the lock file
# names (by hash), and this repository as a wheel. Pin the base by digest for a release: docker buildx imagetools inspect.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.12

FROM ${AIRFLOW_IMAGE} AS build
COPY --chown=airflow:0 requirements/production.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/requirements.lock
WORKDIR /tmp/contrail
COPY --chown=airflow:0 pyproject.toml README.md LICENSE ./
COPY --chown=airflow:0 observability ./observability
COPY --chown=airflow:0 docs/runbooks ./docs/runbooks
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${AIRFLOW_IMAGE}
USER root
# Mount points exist with their owner, so that a new volume takes it over: the services run as 50000:0 and never as root.
# An empty airflow.cfg keeps Airflow from writing one, since the root file system is read-only.
RUN install -d -o airflow -g 0 -m 0770 \
      /var/lib/contrail /opt/airflow/logs /opt/airflow/data \
      /keys /keys/all /keys/init /keys/api-server /keys/scheduler /keys/dag-processor /keys/triggerer /keys/worker \
      /keys/relay /keys/watcher /keys/postgres /keys/valkey /keys/elasticsearch /keys/elk-users /keys/elk-setup \
      /keys/kibana /keys/kibana-setup /keys/cloudwatch-setup \
 && install -o airflow -g 0 -m 0440 /dev/null /opt/airflow/airflow.cfg
COPY --from=build --chown=airflow:0 /home/airflow/.local /home/airflow/.local
COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 config /opt/airflow/contrail-config
COPY --chown=airflow:0 deploy/compose /opt/airflow/deploy
ENV CONTRAIL_HOME=/var/lib/contrail \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The base image's own entry point would take `contrail` for a command of Airflow's, and waits for the database first,
# which the service that makes its password cannot. Signals reach the command as before.
ENTRYPOINT ["/usr/bin/dumb-init", "--"]
USER 50000:0
