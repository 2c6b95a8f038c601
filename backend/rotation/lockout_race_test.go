//go:build race

package rotation

func init() { sequences, together = 100, 6 }
