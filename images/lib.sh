# shellcheck shell=bash
# What the scripts of this folder share: names of images, the engine, buildah's storage. Sourced, not run.
# shellcheck source=SCRIPTDIR/../e2e/cluster/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/cluster/lib.sh"

IMAGES=$REPOSITORY/images
ARCHIVES=$CACHE/images
export BASE_REFERENCE=docker.io/library/debian:bookworm-slim

# image_names ARGUMENT…: the names given, or every folder with a Dockerfile for `all`.
image_names() {
  [ $# != 0 ] || fail "name the images, or say 'all'"
  local name
  for name in "$@"; do
    if [ "$name" = all ]; then
      local dockerfile
      for dockerfile in "$IMAGES"/*/Dockerfile; do basename "$(dirname "$dockerfile")"; done
    elif [ -f "$IMAGES/$name/Dockerfile" ]; then
      echo "$name"
    else
      fail "there is no images/$name/Dockerfile"
    fi
  done
}

image_reference() { echo "${IMAGE_REGISTRY:-docker.io/aiops}/$1:${IMAGE_TAG:-dev}"; }

# A docker client without an engine is common, so the engine itself is asked.
image_engine() {
  case ${IMAGE_ENGINE:-} in
    docker | buildah) echo "$IMAGE_ENGINE" ;;
    '') if docker info >/dev/null 2>&1; then echo docker; else echo buildah; fi ;;
    *) fail "IMAGE_ENGINE is '$IMAGE_ENGINE'; it can be 'docker' or 'buildah'" ;;
  esac
}

# rust_packages: `--package` options of the binaries of all images. They are built in one go: cargo unites the features of what
# it builds together, and one package alone would have other features of the shared dependencies and build them anew.
rust_packages() { sed -n 's/^rust-binary \([^ ]*\) .*/--package=\1/p' "$REPOSITORY"/images/*/context | sort -u; }

# newest_archive NAME: the archive that the last build of this name and tag made or found up to date.
newest_archive() {
  local link
  link=$ARCHIVES/$(image_reference "$1" | tr '/:' '__').current
  [ -e "$link" ] || fail "image $1 is not built; run images/build $1"
  readlink -f "$link"
}

# archive_key ARCHIVE: the content hash in its name.
archive_key() { basename "$1" .tar | grep -o '[0-9a-f]*$'; }

# prepare_storage: buildah's storage and settings are the project's own, so that the user's images and settings play no part.
prepare_storage() {
  local driver=vfs folder=$CACHE/containers
  if filesystem_takes_overlays "$folder"; then driver=overlay; fi
  export CONTAINERS_STORAGE_CONF=$folder/storage.conf CONTAINERS_CONF=$folder/containers.conf
  printf '[network]\nnetwork_config_dir = "%s/networks"\n' "$folder" >"$CONTAINERS_CONF"
  printf '[storage]\ndriver = "%s"\nrunroot = "/run/aiops-images"\ngraphroot = "%s/%s"\n' "$driver" "$folder" "$driver" >"$CONTAINERS_STORAGE_CONF"
}
