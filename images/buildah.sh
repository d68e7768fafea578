# shellcheck shell=bash
# Building with buildah where no engine answers: the base image, what is mounted into a build, cleaning up. Sourced by build.

# shellcheck disable=SC2154 # base_archive is build's
# prepare_buildah: the base image in the storage, nothing left mounted by a build that was killed.
prepare_buildah() {
  need_root "building images without a Docker engine"
  command -v buildah >/dev/null || fail "buildah is missing; run e2e/cluster/install-packages"
  prepare_storage
  buildah rm --all >/dev/null # working containers of a build that was killed
  local tag
  tag=localhost/$(basename "$base_archive" .tar)
  buildah inspect --type image "$tag" >/dev/null 2>&1 || step "base image into the storage" load_base "$tag"
  mkdir -p "$CACHE"/containers/mounts/{pip-cache,apt-archives/partial,configuration}
  pip_configuration >"$CACHE/containers/mounts/configuration/pip.conf"
}

load_base() {
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$base_archive" / >/dev/null
  buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah commit --quiet --rm "$container" "$BASE_REFERENCE" >/dev/null
  buildah tag "$BASE_REFERENCE" "$1"
}

# pip inside of a build trusts and uses what pip on this machine does: authorities, index, timeout.
pip_configuration() {
  echo '[global]'
  [ ! -f /etc/ssl/certs/ca-certificates.crt ] || echo 'cert = /run/build/ca-certificates.crt'
  [ -z "${PIP_INDEX_URL:-}" ] || echo "index-url = $PIP_INDEX_URL"
  [ -z "${PIP_EXTRA_INDEX_URL:-}" ] || echo "extra-index-url = $PIP_EXTRA_INDEX_URL"
  echo "timeout = ${PIP_DEFAULT_TIMEOUT:-60}"
  echo 'disable-pip-version-check = true'
}

# buildah_build NAME REFERENCE CONTEXT ARCHIVE
buildah_build() {
  local mounts=$CACHE/containers/mounts volumes=()
  volumes+=(--volume "$mounts/pip-cache:/root/.cache/pip" --volume "$mounts/apt-archives:/var/cache/apt/archives")
  volumes+=(--volume "$mounts/configuration:/root/.config/pip")
  if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$mounts/configuration/"
    volumes+=(--volume "$mounts/configuration:/run/build")
  fi
  local log=$ARCHIVES/$1-build.log
  if ! buildah bud --isolation chroot --layers --pull-never --format docker "${volumes[@]}" \
    --tag "$2" --file "$IMAGES/$1/Dockerfile" "$3" >"$log" 2>&1; then
    tail -30 "$log" >&2
    fail "image $1 could not be built; the whole output is in $log"
  fi
  # Uncompressed: the archive is read by a containerd on the same machine.
  buildah push --quiet --disable-compression "$2" "docker-archive:$4:$2"
  # What earlier builds of the same names left without a name.
  buildah rmi --prune >/dev/null
}
