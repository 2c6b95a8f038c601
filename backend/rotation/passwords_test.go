package rotation

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPolicyIsTriedOutWhenItIsSet(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		drawn := 0
		misfits := func(every int) func(string) (string, error) {
			return func(string) (string, error) {
				if drawn++; every > 0 && drawn%every == 0 {
					return "does not fit!", nil
				}
				return fmt.Sprintf("passwordofpolicy%d", drawn), nil
			}
		}
		named := Patch{PasswordPolicy: ptr("policy")}
		r.policy = func(string) (string, error) { return "", errors.New("unknown policy") }
		require.ErrorContains(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", named), "does not exist")
		r.policy = misfits(1)
		err := r.engine.WriteConnection(t.Context(), r.storage, "conn", named)
		require.ErrorContains(t, err, "200 of 200")
		require.ErrorContains(t, err, "a-z", "it names the rule")
		require.NotContains(t, err.Error(), "does not fit!", "and not the password")
		r.policy = misfits(5)
		require.ErrorContains(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", named), "40 of 200")
		r.policy = misfits(20)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", named), "by chance a password may break a rule")

		r.mustCreate(nil)
		for range 30 {
			_, err := r.rotate()
			require.NoError(t, err)
			require.Contains(t, r.remote.holds("login"), "passwordofpolicy", "one that does not fit is drawn again")
		}
		r.policy = misfits(1)
		calls := r.remote.count()
		_, err = r.rotate()
		require.Equal(t, KindMistake, kindOf(t, err))
		require.Equal(t, calls, r.remote.count(), "a password that breaks the rules is never sent")
	})
}
