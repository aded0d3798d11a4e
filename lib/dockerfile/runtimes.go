package dockerfile

import (
	"fmt"
	"strings"

	"svckit/lib/spec"
)

// python installs requirements.txt with pip. Without requirements pip is not called: a
// base that brings everything needs no network.
func python(f Facts) string {
	return text(
		head(spec.Python),
		"ARG BASE=python:3.12-slim",
		"FROM ${BASE}",
		"ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1",
		"WORKDIR /app",
		when(f.Requirements, "# A package mirror: --build-arg PIP_INDEX_URL=https://…"),
		when(f.Requirements, "ARG PIP_INDEX_URL"),
		when(f.Requirements, "ARG PIP_TRUSTED_HOST"),
		when(f.Requirements && !f.Others, "COPY requirements.txt ./"),
		when(f.Requirements && f.Others, "# requirements.txt names other files of the folder, so all of them come first."),
		when(f.Requirements && f.Others, "COPY . ."),
		when(f.Requirements, `RUN ["pip", "install", "--no-cache-dir", "--no-input", "--disable-pip-version-check", "-r", "requirements.txt"]`),
		when(!f.Requirements || !f.Others, "COPY . ."),
		"USER "+user,
	)
}

// golang builds one static binary and puts it alone into an empty image, with the
// certificate authorities of the base where it has some.
func golang(f Facts) (string, error) {
	switch {
	case !f.Module:
		return "", lacks(spec.Go, "a go.mod", "go mod init NAME")
	case f.Main == "" && len(f.Mains) == 0:
		return "", lacks(spec.Go, "a package main in the folder or in cmd/<app>", "or write a Dockerfile and set build.dockerfile")
	case f.Main == "":
		return "", lacks(spec.Go, "one command, or one that is called as the app is: there are "+strings.Join(f.Mains, ", "),
			"name one cmd/<app>, or write a Dockerfile and set build.dockerfile")
	}
	modules := "COPY go.mod ./"
	if f.Sum {
		modules = "COPY go.mod go.sum ./"
	}
	return text(
		head(spec.Go),
		"ARG BASE=golang:1.26-bookworm",
		"FROM ${BASE} AS build",
		"# A module mirror: --build-arg GOPROXY=https://…",
		"ARG GOPROXY",
		"ARG GOSUMDB",
		"# A base without certificates is no error: this makes the folder, and the bracket below a pattern.",
		"WORKDIR /etc/ssl/certs",
		"WORKDIR /src",
		when(!f.Vendor, modules),
		when(!f.Vendor && f.Sum, `RUN ["go", "mod", "download"]`),
		"COPY . .",
		// timetzdata: an empty image has no time zones. Without -buildvcs=false a build would ask for git.
		"ENV CGO_ENABLED=0 GOCACHE=/cache/go-build",
		fmt.Sprintf(`RUN --mount=type=cache,target=/cache/go-build ["go", "build", "-trimpath", "-buildvcs=false", "-tags", "timetzdata", "-ldflags", "-s -w", "-o", "/out/app", "%s"]`, f.Main),
		"",
		"FROM scratch",
		"COPY --from=build /etc/ssl/certs/ca-certificates.cr[t] /etc/ssl/certs/",
		"COPY --from=build /out/app /app",
		"USER "+user,
		`CMD ["/app"]`,
	), nil
}

// node installs what package-lock.json pins; without a lock, what package.json asks for.
func node(f Facts) (string, error) {
	if !f.Package {
		return "", lacks(spec.Node, "a package.json", "npm init")
	}
	copied, command := "COPY package.json ./", `RUN ["npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--no-package-lock"]`
	if f.Lock {
		copied, command = "COPY package.json package-lock.jso[n] npm-shrinkwrap.jso[n] ./", `RUN ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund"]`
	}
	return text(
		head(spec.Node),
		"ARG BASE=node:22-slim",
		"FROM ${BASE}",
		"ENV NODE_ENV=production",
		"WORKDIR /app",
		"# A package mirror: --build-arg NPM_CONFIG_REGISTRY=https://…",
		"ARG NPM_CONFIG_REGISTRY",
		copied,
		command,
		"COPY . .",
		"USER "+user,
	), nil
}

// ruby installs what the Gemfile names; with a lock file exactly that.
func ruby(f Facts) (string, error) {
	if !f.Gemfile {
		return "", lacks(spec.Ruby, "a Gemfile", "bundle init")
	}
	copied, frozen := "COPY Gemfile ./", none
	if f.Lock {
		copied, frozen = "COPY Gemfile Gemfile.lock ./", "ENV BUNDLE_FROZEN=1"
	}
	return text(
		head(spec.Ruby),
		"ARG BASE=ruby:3.3", // not slim: many gems compile
		"FROM ${BASE}",
		"ENV BUNDLE_WITHOUT=development:test",
		frozen,
		"WORKDIR /app",
		"# A gem mirror for all sources: --build-arg BUNDLE_MIRROR__ALL=https://…",
		"ARG BUNDLE_MIRROR__ALL",
		copied,
		`RUN ["bundle", "install", "--jobs", "4"]`,
		"COPY . .",
		"USER "+user,
	), nil
}

// static puts public/ where the base image's web server looks for files.
func static(f Facts) (string, error) {
	if !f.Public {
		return "", lacks(spec.Static, "a folder public with the files to serve", "mkdir public")
	}
	return text(
		head(spec.Static),
		"# BASE is an image whose web server serves ROOT and runs without root rights.",
		"ARG BASE=nginxinc/nginx-unprivileged:stable-alpine",
		"FROM ${BASE}",
		"ARG ROOT=/usr/share/nginx/html",
		"COPY public/ ${ROOT}/",
		"USER 101:101",
	), nil
}
