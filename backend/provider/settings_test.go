package provider_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestSettingsSeconds(t *testing.T) {
	t.Parallel()
	const longest = 9223372036 * time.Second
	for _, row := range []struct {
		stored any
		want   time.Duration
	}{
		{nil, 0},
		{"60", 0},
		{60, time.Minute},
		{int64(60), time.Minute},
		{60.0, time.Minute},
		{json.Number("60"), time.Minute},
		{json.Number("1.5"), 0},
		{math.MaxInt, longest},
		{int64(18446744074), longest},
		{1e300, longest},
		{json.Number("18446744074"), longest},
		{math.MinInt, -longest},
	} {
		require.Equal(t, row.want, provider.Settings{"for": row.stored}.Seconds("for"), "%T %v", row.stored, row.stored)
	}
}
