#!/bin/sh
# lead.sh ACTION ROLE SCOPE: Patroni's callback: lets the Service lead to this instance once it is primary. One request, as
# Patroni itself makes where Kubernetes keeps its state (kubernetes.use_endpoints); PGO's agents do the same.
set -eu
[ "$2" = master ] || exit 0
account=/var/run/secrets/kubernetes.io/serviceaccount
exec curl --silent --show-error --fail --output /dev/null --max-time 2 --retry 30 --retry-delay 1 --retry-all-errors \
  --cacert "$account/ca.crt" --header "Authorization: Bearer $(cat "$account/token")" \
  --request PATCH --header 'Content-Type: application/merge-patch+json' \
  --data "{\"endpoints\": [{\"addresses\": [\"$POD_IP\"], \"conditions\": {\"ready\": true}}]}" \
  "https://$KUBERNETES_SERVICE_HOST/apis/discovery.k8s.io/v1/namespaces/$NAMESPACE/endpointslices/patroni"
