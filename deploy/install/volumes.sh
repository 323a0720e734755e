# Sourced by install.sh: the volumes of nsqd and of the event service, as they are and as they are to be.
# shellcheck shell=bash disable=SC2153

# read_volumes: "name size class" of what each StatefulSet's volume is made with, into $WORK/volumes.
read_volumes() {
  k get statefulsets --namespace "$PGO_OPERATOR_NAMESPACE" -o 'go-template={{range .items}}{{.metadata.name}} {{range .spec.volumeClaimTemplates}}{{.spec.resources.requests.storage}} {{with .spec.storageClassName}}{{.}}{{end}}{{end}}{{"\n"}}{{end}}' >"$WORK/volumes"
}

# of_volume STATEFULSET FIELD NEW: that field of what is there, else NEW. Kubernetes lets nobody change it in a StatefulSet.
of_volume() {
  awk -v name="$1" -v field="$2" -v new="$3" '$1 == name {new = $field} END {print new}' "$WORK/volumes"
}

class_of() { of_volume "$1" 3 "$PGO_STORAGE_CLASS"; }

# event_volume_size: what the StatefulSet is to have.
event_volume_size() { of_volume event 2 "${PGO_EVENT_VOLUME_SIZE:-1Gi}"; }

# enlarge_event_volumes: the event service's volumes that are there get the size that was asked for. They stay as they are
# where none was.
enlarge_event_volumes() {
  local claim size
  [[ -n $PGO_EVENT_VOLUME_SIZE ]] || return 0
  k get persistentvolumeclaims --namespace "$PGO_OPERATOR_NAMESPACE" --selector pgo-process=event \
    -o 'go-template={{range .items}}{{.metadata.name}} {{.spec.resources.requests.storage}}{{"\n"}}{{end}}' >"$WORK/claims"
  while read -r claim size; do
    [[ $size != "$PGO_EVENT_VOLUME_SIZE" ]] || continue
    k patch persistentvolumeclaim "$claim" --namespace "$PGO_OPERATOR_NAMESPACE" --type merge \
      --patch "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"$PGO_EVENT_VOLUME_SIZE\"}}}}" </dev/null >/dev/null 2>"$WORK/refused" ||
      fail "volume $claim of the event service has $size and cannot get $PGO_EVENT_VOLUME_SIZE (PGO_EVENT_VOLUME_SIZE): $(<"$WORK/refused"); leave that setting out to keep the size"
    say "volume $claim of the event service is to grow from $size to $PGO_EVENT_VOLUME_SIZE"
  done <"$WORK/claims"
}
