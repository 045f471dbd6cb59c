# docker buildx bake                                      all images, for this machine
# TAG=v2 docker buildx bake users                         one of them, as version v2
# REGISTRY=registry.example.org/forum TAG=v2 docker buildx bake release --push     for amd64 and arm64

variable "REGISTRY" { # where images are pushed to and pulled from, without a slash at the end
  default = ""
}
variable "TAG" { # also the version that every answer of the application shows
  default = "dev"
}
variable "REVISION" {
  default = "unknown"
}
variable "CA" { # the file of a CA certificate that stands between here and the package index
  default = ""
}
variable "BUILD_NETWORK" { # `host` where containers cannot reach the package index
  default = "default"
}
variable "APPS" {
  default = ["monolith", "users", "topics", "messages", "web", "kit", "loadtest"]
}

group "default" {
  targets = APPS
}

group "release" {
  targets = [for app in APPS : "release-${app}"]
}

target "image" {
  matrix  = { app = APPS }
  name    = app
  target  = app
  tags    = ["${REGISTRY == "" ? "" : "${REGISTRY}/"}forum-${app}:${TAG}"]
  args    = { VERSION = TAG, REVISION = REVISION }
  secret  = CA == "" ? [] : ["id=ca,src=${CA}"]
  network = BUILD_NETWORK
}

target "multi" {
  matrix    = { app = APPS }
  name      = "release-${app}"
  inherits  = [app]
  platforms = ["linux/amd64", "linux/arm64"]
}
