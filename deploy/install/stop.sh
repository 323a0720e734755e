# Sourced by uninstall.sh and compose/down.sh.
# shellcheck shell=bash

# stop_telling COMMAND...: ends, by COMMAND, what of PGO is not needed to tell that it stops, and waits until the stop is
# told and stored. The reconciler, nsqd and the event service must run; they can go then.
stop_telling() {
  local deadline=$((SECONDS + PGO_STOP_SECONDS)) phase why
  k --namespace "$PGO_OPERATOR_NAMESPACE" get pginstallation/pgo >/dev/null 2>&1 || return 0
  k --namespace "$PGO_OPERATOR_NAMESPACE" patch pginstallation pgo --type merge --patch '{"spec":{"state":"Stopped"}}' >/dev/null
  "$@"
  while true; do
    phase=$(k --namespace "$PGO_OPERATOR_NAMESPACE" get pginstallation pgo -o 'jsonpath={.status.phase}')
    [[ $phase == Stopped ]] && break
    if ((SECONDS >= deadline)); then
      why=$(k --namespace "$PGO_OPERATOR_NAMESPACE" get pginstallation pgo -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}')
      say "warning: PGO did not say within $PGO_STOP_SECONDS s that it stopped (it is ${phase:-silent}: ${why:-no reason is told}); what was not told yet will be by the next installation"
      return
    fi
    sleep 0.3
  done
  say "PGO has stopped; its last event is stored"
}
