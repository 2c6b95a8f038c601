package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// takeover is a way in which the active node of a cluster ceases to be that, and how it becomes a node again.
type takeover struct {
	name   string
	do     func(*cluster, *vaulttest.Vault) error
	return_ func(*cluster, *vaulttest.Vault) error
}
