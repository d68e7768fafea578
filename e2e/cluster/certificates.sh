# shellcheck shell=bash
# The cluster's certificates and kubeconfigs. Made when missing, changed or about to expire. Sourced by up after configuration.sh.

RENEW_BEFORE=$((7 * 24 * 3600))
LIFETIME_DAYS=365

good_for_a_while() { openssl x509 -in "$1" -noout -checkend "$RENEW_BEFORE" >/dev/null 2>&1; }

# Elliptic curve keys: a moment each, where RSA takes seconds for the ten of them.
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1" && chmod 600 "$1"; }

make_authority() {
  good_for_a_while "$PKI/ca.crt" && [ -s "$PKI/ca.key" ] && return
  rm -f "$PKI"/*.crt
  new_key "$PKI/ca.key"
  openssl req -x509 -new -sha256 -key "$PKI/ca.key" -days $((2 * LIFETIME_DAYS)) -subj /CN=aiops-cluster -out "$PKI/ca.crt.new" 2>/dev/null
  mv "$PKI/ca.crt.new" "$PKI/ca.crt"
}

# make_certificate NAME SUBJECT USAGE NAMES
make_certificate() {
  local name=$1 request="$2 $3 $4"
  if good_for_a_while "$PKI/$name.crt" && [ -s "$PKI/$name.key" ] && [ "$(cat "$PKI/$name.request" 2>/dev/null)" = "$request" ]; then return; fi
  new_key "$PKI/$name.key"
  openssl req -new -sha256 -key "$PKI/$name.key" -subj "$2" |
    openssl x509 -req -sha256 -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -set_serial "0x$(openssl rand -hex 16)" -days "$LIFETIME_DAYS" \
      -out "$PKI/$name.crt.new" -extfile <(printf 'subjectAltName=%s\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$4" "$3") 2>/dev/null
  mv "$PKI/$name.crt.new" "$PKI/$name.crt"
  echo "$request" >"$PKI/$name.request"
}

make_certificates() {
  local service=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  make_authority
  make_certificate apiserver /CN=kube-apiserver serverAuth "$service,DNS:localhost,IP:127.0.0.1,IP:$API_SERVICE_ADDRESS,IP:$NODE_ADDRESS"
  make_certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth DNS:apiserver
  make_certificate aggregator /CN=front-proxy-client clientAuth DNS:aggregator
  make_certificate admin /O=system:masters/CN=admin clientAuth DNS:admin
  make_certificate controller-manager /CN=system:kube-controller-manager clientAuth,serverAuth DNS:localhost,IP:127.0.0.1
  make_certificate scheduler /CN=system:kube-scheduler clientAuth,serverAuth DNS:localhost,IP:127.0.0.1
  make_certificate kube-proxy /CN=system:kube-proxy clientAuth DNS:kube-proxy
  # The API server and metrics-server reach the kubelet by the node's address; both check it.
  make_certificate kubelet "/O=system:nodes/CN=system:node:$NODE" clientAuth,serverAuth "DNS:$NODE,IP:127.0.0.1,IP:$NODE_ADDRESS"
  make_certificate metrics-server /CN=metrics-server serverAuth DNS:metrics-server.kube-system.svc
  if [ ! -s "$PKI/service-account.pub" ]; then
    new_key "$PKI/service-account.key"
    openssl ec -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub.new" 2>/dev/null
    mv "$PKI/service-account.pub.new" "$PKI/service-account.pub"
  fi
}

# make_kubeconfig FILE CERTIFICATE
make_kubeconfig() {
  replace_file "$1" <<EOF_KUBECONFIG
apiVersion: v1
kind: Config
current-context: aiops
contexts:
  - name: aiops
    context: {cluster: aiops, user: $2}
clusters:
  - name: aiops
    cluster:
      server: $API_URL
      certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
  - name: $2
    user:
      client-certificate-data: $(base64 -w0 "$PKI/$2.crt")
      client-key-data: $(base64 -w0 "$PKI/$2.key")
EOF_KUBECONFIG
}

make_kubeconfigs() {
  local user
  for user in controller-manager scheduler kubelet kube-proxy; do make_kubeconfig "$CONFIGURATION/$user.kubeconfig" "$user"; done
  make_kubeconfig "$ADMIN_KUBECONFIG" admin
}
