# Reads the rules in deploy/rbac/*.yaml and prints them with their bindings, for one installation.
# Variables: opns, the operator's namespace; targets, the namespaces with clusters, separated by blanks.
#
# Each file is one process', <process>.yaml, and holds some of these, separated by lines of "---":
#   Role pgo-<process>            for every target namespace
#   Role pgo-<process>-operator   for the operator's namespace
#   ClusterRole pgo-<process>     for what is in no namespace
# Every one is bound to ServiceAccount pgo-<process>, which is made here too.

function flush_document(   n, i, list) {
  if (kind == "") { body = ""; return }
  if (kind == "ClusterRole" && name == account) {
    place("")
    # Two installations on one cluster share the rules, not the binding.
    bind("ClusterRoleBinding", name "-" opns, "", "ClusterRole")
  } else if (kind == "Role" && name == account "-operator") {
    place(opns)
    bind("RoleBinding", name, opns, "Role")
  } else if (kind == "Role" && name == account) {
    n = split(targets, list, " ")
    for (i = 1; i <= n; i++) {
      place(list[i])
      bind("RoleBinding", name, list[i], "Role")
    }
  } else {
    printf "rules of %s hold %s \"%s\"; possible are Role %s, Role %s-operator and ClusterRole %s\n",
      account ".yaml", kind, name, account, account, account > "/dev/stderr"
    failed = 1
    exit 1
  }
  kind = name = body = ""
}

function place(namespace) {
  print "---"
  n = split(body, lines, "\n")
  for (i = 1; i < n; i++) {
    print lines[i]
    if (namespace != "" && lines[i] == "metadata:") print "  namespace: " namespace
    if (lines[i] == "metadata:" && !labelled) print "  labels: {vendor: crunchydata}"
  }
}

function bind(binding, called, namespace, role) {
  print "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: " binding
  print "metadata:\n  name: " called "\n  labels: {vendor: crunchydata}"
  if (namespace != "") print "  namespace: " namespace
  print "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: " role ", name: " name "}"
  print "subjects: [{kind: ServiceAccount, name: " account ", namespace: " opns "}]"
}

function begin_file() {
  file = FILENAME
  sub(/.*\//, "", file)
  sub(/\.yaml$/, "", file)
  account = "pgo-" file
}

FNR == 1 { flush_document(); begin_file(); labelled = 0 }
/^---/ { flush_document(); labelled = 0; next }
/^#/ { next }
/^kind: / { kind = $2 }
/^[a-z]/ { section = $1 }
section == "metadata:" && /^  name: / { name = $2 }
section == "metadata:" && /^  namespace: / { next }
section == "metadata:" && /^  labels:/ { labelled = 1 }
{ body = body $0 "\n" }
END { if (!failed) flush_document(); exit failed }
