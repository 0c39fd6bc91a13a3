# Two images from one build, both FROM scratch and with a single static binary inside:
#   docker build -t outhook .                               the webhook sender, `outhook serve`
#   docker build -t payment-api --target payment-api .      the tutorial's payment gateway
# Works with BuildKit and with the classic builder, on amd64 and arm64.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /outhook

# Everything inside the binary, libc too: the final images hold nothing else.
# With glibc this needs an explicit --target, or it would apply to proc macros as well.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# Dependencies first, against an empty program: this layer is kept until they change.
# Benches and tests are not copied, so their tables must go from the manifest.
COPY Cargo.toml Cargo.lock ./
RUN awk '/^\[/ { skip = /^\[\[(bench|test)\]\]/ } !skip' Cargo.toml > Cargo.toml.new \
    && mv Cargo.toml.new Cargo.toml \
    && rustc -vV | sed -n 's/^host: //p' > target-triple \
    && mkdir src examples \
    && echo 'fn main() {}' | tee src/main.rs > examples/payment-api.rs \
    && cargo build --release --locked --target "$(cat target-triple)" --bin outhook --example payment-api \
    && rm -r src examples

# COPY keeps times, which may be older than those of the empty program: touch, or cargo would
# think that nothing changed.
COPY src src
COPY examples examples
RUN find src examples -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --target "$(cat target-triple)" --bin outhook --example payment-api \
    && mkdir /out \
    && cp "target/$(cat target-triple)/release/outhook" \
          "target/$(cat target-triple)/release/examples/payment-api" /out/ \
    && chmod 0555 /out/*


FROM scratch AS payment-api
COPY --from=build /out/payment-api /payment-api
USER 65534:65534
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/payment-api", "--health"]
ENTRYPOINT ["/payment-api"]


FROM scratch AS outhook
COPY --from=build /out/outhook /outhook
# So that `docker compose exec webhook outhook dead list` finds it.
ENV PATH=/
USER 65534:65534
STOPSIGNAL SIGTERM
# Good configuration and an answer from Redis. There is no shell, so outhook checks itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/outhook", "check"]
ENTRYPOINT ["/outhook"]
CMD ["serve"]
