# Plumbline in a container: one static binary, with Git for what go-git leaves
# to it, SSH for modules, and CA certificates for registries and backends. Terraform is
# not inside: the version a workspace asks for is installed on first use into
# the cache, which belongs on a volume.
#
#   docker run -v "$PWD:/repository" -v plumbline:/var/lib/plumbline plumbline plan
#   docker run --stop-timeout 900 -v /etc/plumbline:/etc/plumbline:ro -v plumbline:/var/lib/plumbline plumbline \
#     serve --config /etc/plumbline/server.yaml --data-dir /var/lib/plumbline/data

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=development
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/plumbline ./cmd/plumbline

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 plumbline \
 && useradd --system --uid 10001 --gid 10001 --create-home --home-dir /var/lib/plumbline plumbline
COPY --from=build /out/plumbline /usr/local/bin/plumbline
USER 10001:10001
WORKDIR /repository
ENV XDG_CACHE_HOME=/var/lib/plumbline/cache \
    XDG_STATE_HOME=/var/lib/plumbline/state
VOLUME ["/var/lib/plumbline"]
ENTRYPOINT ["/usr/local/bin/plumbline"]
CMD ["--help"]
