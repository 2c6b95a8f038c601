//go:build race

package rotation

func init() { sequences = 300 }
