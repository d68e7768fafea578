# shellcheck shell=bash
# What runs inside of the cluster as part of it: DNS, resource metrics, the StorageClass. Sourced by up.

ADDON_IMAGES=(pause coredns metrics-server)

KUBECTL=$(tool_folder kubernetes)/kubectl

kube() { "$KUBECTL" --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }

# The cluster's own images have their fixed names, whatever those of the product are to be.
addon_images() { env -u IMAGE_REGISTRY -u IMAGE_TAG "$REPOSITORY/images/$1" "${@:2}" "${ADDON_IMAGES[@]}"; }

# manifest NAME: with the content hash of its image, for those that have one.
manifest() {
  local archive
  archive=$(readlink "$CACHE/images/docker.io_aiops_$1_dev.current" || true)
  sed "s/IMAGE_KEY/${archive%.tar}/" "$REPOSITORY/e2e/cluster/manifests/$1.yaml"
}

# On a machine without name servers, names outside of the cluster get a quick "no" instead of a slow one.
upstream() {
  if [ -s "$CONFIGURATION/resolv.conf" ]; then
    printf 'forward . /etc/resolv.conf\n    loop'
  else
    printf 'template ANY ANY {\n      rcode NXDOMAIN\n    }'
  fi
}

generated_manifests() {
  cat <<EOF_GENERATED
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
    errors
    health {
      lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
      ttl 30
    }
    prometheus :9153
    $(upstream)
    cache 30
    reload
    loadbalance
    }
---
apiVersion: v1
kind: Secret
metadata: {name: metrics-server-tls, namespace: kube-system}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 "$PKI/metrics-server.crt")
  tls.key: $(base64 -w0 "$PKI/metrics-server.key")
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: metrics-server, namespace: kube-system}
  caBundle: $(base64 -w0 "$PKI/ca.crt")
EOF_GENERATED
}

apply_addons() {
  local name
  {
    generated_manifests
    for name in coredns metrics-server storage-class; do echo ---; manifest "$name"; done
  } | kube apply --server-side --force-conflicts --field-manager=aiops-cluster -f - >/dev/null
}

node_is_ready() { [ "$(kube get node "$NODE" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

# A Deployment's status may be from before a restart; an answer through the Service is from now.
dns_answers() { curl -fsS -m 2 -o /dev/null "http://$DNS_ADDRESS:9153/metrics"; }

metrics_answer() { kube get --raw "/apis/metrics.k8s.io/v1beta1/nodes/$NODE"; }
