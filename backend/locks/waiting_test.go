package locks

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// fill enters for names until no more requests are accepted, and returns how many were, and the error.
func fill(w *Waiting, reads bool, name func(i int) string) (leave []func(), full *FullError) {
	for i := 0; ; i++ {
		one, err := w.Enter(name(i), reads)
		if errors.As(err, &full) {
			return leave, full
		}
		leave = append(leave, one)
	}
}

func TestWaitingRequestsAreBounded(t *testing.T) {
	t.Parallel()
	one := func(int) string { return "one" }
	each := func(i int) string { return fmt.Sprint(i) }
	var w Waiting
	readers, full := fill(&w, true, one)
	require.Len(t, readers, 60)
	require.Equal(t, &FullError{Limit: 64}, full)
	others, full := fill(&w, false, one)
	require.Len(t, others, 4, "readers leave places to others")
	require.Equal(t, &FullError{Limit: 64}, full)

	more, full := fill(&w, true, each)
	require.Len(t, more, 960-64)
	require.Equal(t, &FullError{InAll: true, Limit: 1024}, full)
	last, full := fill(&w, false, each)
	require.Len(t, last, 64)
	require.Equal(t, &FullError{InAll: true, Limit: 1024}, full)

	readers[0]()
	_, err := w.Enter("one", true)
	require.Error(t, err, "writers have taken the places that readers leave")
	again, err := w.Enter("one", false)
	require.NoError(t, err)
	for _, leave := range append(append(append(readers[1:], others...), more...), append(last, again)...) {
		leave()
	}
	require.Empty(t, w.named)
	require.Zero(t, w.all)
}
