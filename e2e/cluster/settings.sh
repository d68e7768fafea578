# shellcheck shell=bash
# Where the cluster's things are and which addresses and ports it takes. Sourced after lib.sh by every command.
# shellcheck disable=SC2034 # used by the other files

# One cluster fits on a machine: its bridges, iptables chains and Service addresses are the machine's. What runs now is
# therefore recorded at one place; what lasts is in the state folder.
RUN=/run/aiops-cluster
LOCK=/run/lock/aiops-cluster

NODE=${AIOPS_CLUSTER_NODE:-node-1}
NODE_ADDRESS=${AIOPS_CLUSTER_NODE_ADDRESS:-172.30.0.1}
NODE_BRIDGE=aiops0
POD_BRIDGE=cni-aiops
POD_NETWORK=aiops
POD_RANGE=10.244.0.0/16
NODE_POD_RANGE=10.244.0.0/24
SERVICE_RANGE=10.96.0.0/16
API_SERVICE_ADDRESS=10.96.0.1
DNS_ADDRESS=10.96.0.10

API_PORT=${AIOPS_CLUSTER_API_PORT:-6443}
ETCD_PORT=${AIOPS_CLUSTER_ETCD_PORT:-12379}
ETCD_PEER_PORT=${AIOPS_CLUSTER_ETCD_PEER_PORT:-12380}
KUBELET_PORT=${AIOPS_CLUSTER_KUBELET_PORT:-10250}
KUBELET_HEALTH_PORT=10248
PROXY_HEALTH_PORT=10256

API_URL=https://$NODE_ADDRESS:$API_PORT

PARTS=(etcd apiserver controller-manager scheduler containerd kubelet kube-proxy volume-provisioner)
CGROUP=aiops-cluster

# use_state FOLDER: the paths inside of the state folder. The names of the two folders that get mounts are unmistakable:
# what an earlier run left mounted is found by them, wherever its state folder was.
use_state() {
  [ -n "${1:-}" ] || fail "name the folder of the cluster's state, e.g. $(basename "$0") ${2:-}/var/tmp/aiops-cluster"
  STATE=$(realpath -m "$1")
  [ ${#STATE} -le 60 ] || fail "the path $STATE is too long: sockets inside of it may have 107 characters; choose a shorter one"
  PKI=$STATE/pki
  LOGS=$STATE/logs
  CONFIGURATION=$STATE/configuration
  KUBELET_ROOT=$STATE/aiops-kubelet
  CONTAINERD_ROOT=$STATE/aiops-containerd
  CONTAINERD_SOCKET=$STATE/containerd.sock
  ADMIN_KUBECONFIG=$STATE/admin.kubeconfig
}

known_part() {
  local part
  for part in "${PARTS[@]}"; do [ "$part" != "$1" ] || return 0; done
  fail "there is no part '$1'; the parts are: ${PARTS[*]}"
}
