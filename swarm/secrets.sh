#!/bin/sh
# Makes the secrets that the stacks name, those that are not there yet. Needs Docker and nothing else; keeps no copy.
#
#     swarm/secrets.sh                       all of them, version 1
#     swarm/secrets.sh strangler-v2          a new version of one; then change the name in the stage's file and deploy
#     STACK=staging swarm/secrets.sh         for a second stack beside the first
set -eu

stack=${STACK:-forum}
secrets="strangler pages token-private-key \
    monolith-superuser users-superuser topics-superuser messages-superuser \
    monolith-application users-application topics-application messages-application"

complain() {
    echo "secrets.sh: $*" >&2
    exit 2
}

password() {
    head -c 24 /dev/urandom | od -A n -t x1 | tr -d ' \n'
}

# An Ed25519 key in PKCS #8 is 32 random bytes behind 16 fixed ones (RFC 8410, section 7).
signing_key() {
    echo '-----BEGIN PRIVATE KEY-----'
    { printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'; head -c 32 /dev/urandom; } | base64
    echo '-----END PRIVATE KEY-----'
}

value() {
    case $1 in
        token-private-key) signing_key ;;
        *) password ;;
    esac
}

command -v docker >/dev/null || complain "there is no docker here; install Docker Engine"
[ "$(docker info --format '{{.Swarm.ControlAvailable}}' 2>/dev/null)" = true ] ||
    complain "this engine is not a manager of a swarm; run: docker swarm init"

[ $# -gt 0 ] || for name in $secrets; do set -- "$@" "$name-v1"; done
for wanted; do
    name=${wanted%-v[0-9]*}
    case " $secrets " in
        *" $wanted "* | *" $name "*) [ "$name" != "$wanted" ] || complain "$wanted has no version; say $wanted-v2" ;;
        *) complain "there is no secret $wanted; the names are:" $secrets ;;
    esac
    secret="$stack-$wanted"
    if docker secret inspect "$secret" >/dev/null 2>&1; then
        echo "$secret is there"
    elif id=$(value "$name" | docker secret create --label "forum.stack=$stack" "$secret" - 2>&1); then
        echo "$secret made"
    elif docker secret inspect "$secret" >/dev/null 2>&1; then # by another one of us, meanwhile
        echo "$secret is there"
    else
        complain "$secret: $id"
    fi
done
