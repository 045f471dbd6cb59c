#!/bin/sh
# Makes the Secrets that the forum needs, in the cluster and nowhere else. Needs kubectl and a POSIX shell.
#
#   k8s/secrets.sh                 in the namespace forum, which is made when it isn't there
#   NAMESPACE=other k8s/secrets.sh
#
# A Secret that exists is left as it is, so it can be run again at any time; to change one, delete it first.
# (A database keeps its passwords: deleting a Secret of PostgreSQL's locks everybody out, see k8s/README.md.)
set -eu
namespace=${NAMESPACE:-forum}
base=$(dirname "$0")/base/common/namespace.yaml
umask 077

kubectl get namespace "$namespace" >/dev/null 2>&1 ||
    sed "s/^  name: forum$/  name: $namespace/" "$base" | kubectl apply -f - # with its Pod Security labels

random() { # 32 random bytes as hexadecimal digits: good in URLs and in configuration files
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

# An Ed25519 key is 32 random bytes behind a fixed head (RFC 8410, section 7), so it takes no openssl.
signing_key() {
    printf -- '-----BEGIN PRIVATE KEY-----\n'
    { printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040' && head -c 32 /dev/urandom; } | encode
    printf '\n-----END PRIVATE KEY-----\n'
}

encode() { base64 | tr -d '\n'; }

# secret NAME KEY=VALUE...: values go by standard input, not by the command line, which everybody on the machine can read.
secret() {
    name=$1
    shift
    if kubectl -n "$namespace" get secret "$name" >/dev/null 2>&1; then
        echo "secret/$name is there"
        return
    fi
    {
        printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$name" "$namespace"
        printf '  labels:\n    app.kubernetes.io/part-of: forum\ntype: Opaque\ndata:\n'
        for pair; do printf '  %s: %s\n' "${pair%%=*}" "$(printf %s "${pair#*=}" | encode)"; done
    } | kubectl create -f -
}

for site in monolith users topics messages; do
    admin=$(random)
    forum=$(random)
    # database-url: for the application, which owns its tables and nothing else. dsn: for the kit.
    secret "postgres-$site" "admin-password=$admin" "forum-password=$forum" \
        "database-url=postgresql://forum:$forum@postgres-$site:5432/$site" \
        "dsn=postgresql://postgres:$admin@postgres-$site:5432/$site"
done
password=$(random)
secret redis "password=$password" "auth.conf=requirepass $password" "url=redis://:$password@redis:6379/0"
secret strangler "secret=$(random)"       # the sites know each other by it
secret pages "secret-key=$(random)"       # signs session cookies
secret tokens "private-key=$(signing_key)" # signs access tokens
secret seed "password=$(random)"          # of the accounts that `forum seed` makes; for the load test
