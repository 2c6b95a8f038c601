package firstread

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this one when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}
