# syntax=docker/dockerfile:1
# A small image with the binary alone: no shell, no package manager, not root.

FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY . .
# The caches outlive the layer, so a changed line does not compile the dependencies again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin inventory-sentinel \
    && cp target/release/inventory-sentinel /inventory-sentinel

# glibc and libgcc, certificates and a `nonroot` user (65532), nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /inventory-sentinel /inventory-sentinel
# The containers of a pod share localhost: clients of the same pod reach these, nobody else does; a
# probe by httpGet comes by the pod's address and needs INVENTORY_SENTINEL_ADMIN=0.0.0.0:9121, one by exec does not. Outside a
# pod, where a container's localhost is its own, set them to 0.0.0.0. RESP then wants TLS (listen.tls_cert and tls_key), or
# `run --set listen.insecure=true` and a network that nobody else is on.
ENV INVENTORY_SENTINEL_LISTEN=127.0.0.1:6380 \
    INVENTORY_SENTINEL_ADMIN=127.0.0.1:9121 \
    INVENTORY_SENTINEL_UPSTREAM=redis://127.0.0.1:6379
EXPOSE 6380 9121
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/inventory-sentinel", "health"]
ENTRYPOINT ["/inventory-sentinel"]
CMD ["run"]
