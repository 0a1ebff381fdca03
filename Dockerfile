# syntax=docker/dockerfile:1
ARG NODE_IMAGE=node:24-bookworm-slim
# The same with a C compiler, for the native SHA-256. Without one the image works as well, but verifies more slowly.
ARG COMPILER_IMAGE=node:24-bookworm

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
COPY daemon/verify/native ./daemon/verify/native
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY config ./config
COPY proxy ./proxy
COPY daemon ./daemon
RUN npm run build

FROM ${COMPILER_IMAGE} AS dependencies
WORKDIR /src
COPY package.json package-lock.json ./
COPY daemon/verify/native ./daemon/verify/native
RUN npm ci --omit=dev --no-audit --no-fund

FROM ${NODE_IMAGE}
WORKDIR /opt/layerd
# An empty volume takes over the owner of the folder that it is mounted on.
RUN install --directory --owner=node --group=node --mode=0750 /var/lib/layerd
COPY --from=dependencies /src/node_modules ./node_modules
COPY --from=dependencies /src/daemon/verify/native ./daemon/verify/native
COPY --from=build /src/dist ./dist
COPY package.json LICENSE ./
COPY config/default.yaml ./config/default.yaml

# Within a container 127.0.0.1 can't be reached through a published port. Publish to the host's loopback only:
#   docker run -p 127.0.0.1:5050:5050 -p 127.0.0.1:5051:5051 -p 4050:4050 -p 4051:4051 ...
# With --network host (which mDNS needs) set both back to 127.0.0.1: they have no authentication of their own.
# Clients of a published port do not come by loopback, so the credentials of this node are not used for them (SECURITY.md), and they may
# push only with -e LAYERD_REGISTRY_PUSH=always; then publish to the host's loopback only, or everybody who reaches it may. A name
# by which they call it, such as that of a service, goes into "hosts" of the section "registry".
ENV NODE_ENV=production \
    LAYERD_DATA_DIR=/var/lib/layerd \
    LAYERD_REGISTRY_LISTEN=0.0.0.0:5050 \
    LAYERD_ADMIN_LISTEN=0.0.0.0:5051

# The image's user "node" as a number, by which Kubernetes sees that it is not root.
USER 1000:1000
VOLUME /var/lib/layerd
EXPOSE 5050 5051 4050 4051

# Asks the admin address of the configuration (LAYERD_ADMIN_LISTEN or the file in LAYERD_CONFIG, not a flag of serve).
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "/opt/layerd/dist/daemon/cli/bin.js", "status"]

# Node as process 1 is enough: serve handles SIGTERM itself and reaps what it starts (credential helpers).
ENTRYPOINT ["node", "/opt/layerd/dist/daemon/cli/bin.js"]
CMD ["serve"]
