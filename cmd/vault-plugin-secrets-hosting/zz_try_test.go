package main

import (
	"os"
	"testing"
	"time"
	"context"

	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

func TestZZStart(t *testing.T) {
	for i := 0; i < 16; i++ {
		t.Run("x", func(t *testing.T) {
			t.Parallel()
			dir, _ := os.MkdirTemp("/tmp/ctry", "h")
			at := time.Now()
			c, err := vaulttest.StartCluster(context.Background(), binaries.vault, binaries.plugin, dir)
			if err != nil { t.Errorf("%s %.300s", dir, err.Error()); return }
			t.Logf("%.1f", time.Since(at).Seconds())
			c.Stop()
			os.RemoveAll(dir)
		})
	}
}
