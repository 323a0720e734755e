# Sourced by uninstall.sh and compose/down.sh.
# shellcheck shell=bash

# stop_telling: has PGO tell that it stops, and waits until that is stored. Something of it must run.
stop_telling() {
  local deadline=$((SECONDS + PGO_STOP_SECONDS)) phase
  k --namespace "$PGO_OPERATOR_NAMESPACE" get pginstallation/pgo >/dev/null 2>&1 || return 0
  k --namespace "$PGO_OPERATOR_NAMESPACE" patch pginstallation pgo --type merge --patch '{"spec":{"state":"Stopped"}}' >/dev/null
  while true; do
    phase=$(k --namespace "$PGO_OPERATOR_NAMESPACE" get pginstallation pgo -o 'jsonpath={.status.phase}')
    [[ $phase == Stopped ]] && break
    if ((SECONDS >= deadline)); then
      say "warning: PGO did not say within $PGO_STOP_SECONDS s that it stopped (it is ${phase:-silent}); its last events will be told by the next installation"
      return
    fi
    sleep 0.3
  done
  say "PGO has stopped; its last event is stored"
}
