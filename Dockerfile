# The gateway alone: one static binary, no shell, not root. Mount the policy at
# /etc/headgate/headgate.yaml.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What `headgate version` says: docker build --build-arg VERSION=v1.2.3, as make image does.
ARG VERSION=""
ENV CGO_ENABLED=0
RUN go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/headgate ./gateway
RUN go build -trimpath -ldflags "-s -w" -o /out/shop ./examples/shop
# What an image from scratch lacks: root certificates, and a /tmp and /data that nobody-in-particular may write.
RUN mkdir -p /out/root/tmp /out/root/data && chmod 1777 /out/root/tmp /out/root/data

# The example's app server and its balancer: docker build --target shop .
FROM scratch AS shop
COPY --from=build /out/root/ /
COPY --from=build /out/shop /shop
USER 65532:65532
ENTRYPOINT ["/shop"]

FROM scratch AS headgate
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/root/tmp /tmp
COPY --from=build /out/headgate /headgate
USER 65532:65532
WORKDIR /etc/headgate
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s CMD ["/headgate", "probe"]
ENTRYPOINT ["/headgate"]
CMD ["serve"]
