#!/bin/sh
# nginx does not read resolv.conf, in which svc-run names the node's DNS.
awk '$1 == "nameserver" { print "resolver " ($2 ~ /:/ ? "[" $2 "]" : $2) " valid=1s ipv6=off;"; exit }' /etc/resolv.conf >/tmp/resolver.conf
exec nginx -e stderr -c /etc/nginx/nginx.conf "$@"
