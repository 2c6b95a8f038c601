package role

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maxTTL sets max_read_ttl.
func maxTTL(seconds int) func(*Role) {
	return func(r *Role) { r.Options.MaxReadTTL = seconds }
}

func TestTTLEndsAtNextStep(t *testing.T) {
	t.Parallel()
	const hour, day = time.Hour, 24 * time.Hour
	for name, row := range map[string]struct {
		role *Role
		env  Env
		want time.Duration
	}{
		"by hand":                       {given("active"), Env{}, 300 * time.Second},
		"by hand, no limit":             {given("active", maxTTL(0)), Env{}, 300 * time.Second},
		"by hand, short":                {given("active", maxTTL(10)), Env{}, 10 * time.Second},
		"no password":                   {given("no password", due(hour), maxTTL(0)), Env{}, hour},
		"due in a day, no limit":        {given("active", due(day), maxTTL(0)), Env{}, day},
		"due in a day":                  {given("active", due(day)), Env{}, 300 * time.Second},
		"due in 301 s":                  {given("active", due(301*time.Second)), Env{}, 151 * time.Second},
		"due in 10 s":                   {given("active", due(10*time.Second)), Env{}, 10 * time.Second},
		"due in half a second":          {given("active", due(time.Second/2)), Env{}, time.Second},
		"due in 10.5 s":                 {given("active", due(10*time.Second+time.Second/2)), Env{}, 11 * time.Second},
		"due on read":                   {given("active", due(10*time.Second), onRead), Env{}, 10 * time.Second},
		"due since a read":              {given("active", due(day), read(time.Minute-hour)), Env{}, time.Minute},
		"overdue, not begun":            {given("active", due(-hour)), Env{}, OverdueTTL},
		"overdue on read":               {given("active", due(-hour), onRead), Env{}, OverdueTTL},
		"overdue, begun":                {given("begun", due(-hour)), Env{}, OverdueTTL},
		"overdue, retry in a second":    {given("begun", due(-hour), busy(time.Second)), Env{}, OverdueTTL},
		"overdue, retry in a minute":    {given("begun", due(-hour), busy(time.Minute)), Env{}, time.Minute},
		"overdue, retry in an hour":     {given("begun", due(-hour), busy(hour)), Env{}, 300 * time.Second},
		"not begun, retry in a minute":  {given("active", due(-hour), busy(time.Minute)), Env{}, time.Minute},
		"retry that was mended":         {given("begun", due(-hour), unreachable(time.Minute)), Env{Revision: 4}, OverdueTTL},
		"window missed":                 {given("active", window(missed, -3*hour), maxTTL(0)), Env{}, 21 * hour},
		"no window ever":                {given("active", window(never, -hour), maxTTL(60)), Env{}, time.Minute},
		"unknown, retry in 42 s":        {given("unknown", busy(42*time.Second)), Env{}, 42 * time.Second},
		"unknown, retry at once":        {given("unknown"), Env{}, OverdueTTL},
		"unknown, disabled":             {given("unknown", disabled, maxTTL(60)), Env{}, time.Minute},
		"too many":                      {given("too many", maxTTL(60)), Env{}, time.Minute},
		"disabled":                      {given("active", due(10*time.Second), disabled, maxTTL(60)), Env{}, time.Minute},
		"staged":                        {given("staged", due(-hour), maxTTL(60)), Env{}, time.Minute},
		"partial":                       {given("partial", maxTTL(60)), Env{}, time.Minute},
		"queued":                        {given("queued", due(-hour), maxTTL(0)), Env{}, settles},
		"queued, short":                 {given("queued", due(-hour), maxTTL(400)), Env{}, settles / 2},
		"queued, disabled":              {given("queued", disabled, maxTTL(0)), Env{}, settles},
		"queued and asked":              {given("queued and asked", maxTTL(0)), Env{Margin: time.Hour}, settles},
		"queued, another unknown":       {given("queued and unknown", disabled, maxTTL(3600)), Env{}, settles},
		"queued, not refreshed":         {given("queued", func(r *Role) { r.SettlesAt = in(-hour) }), Env{}, time.Second},
		"frozen without end":            {given("active", due(-hour), maxTTL(60)), Env{Frozen: true}, time.Minute},
		"frozen for long":               {given("active", due(-hour), maxTTL(0)), Env{Frozen: true, FrozenUntil: in(day)}, 300 * time.Second},
		"frozen for 10 s":               {given("active", due(-hour)), Env{Frozen: true, FrozenUntil: in(10 * time.Second)}, 10 * time.Second},
		"unknown, frozen for 10 s":      {given("unknown"), Env{Frozen: true, FrozenUntil: in(10 * time.Second)}, 10 * time.Second},
		"frozen until before it is due": {given("active", due(day), maxTTL(0)), Env{Frozen: true, FrozenUntil: in(hour)}, day},
		"paused without end":            {given("active", due(-hour), maxTTL(60)), Env{Paused: true}, time.Minute},
		"paused for long":               {given("active", due(-hour), maxTTL(0)), Env{Paused: true, PausedUntil: in(hour)}, 300 * time.Second},
		"paused for 10 s":               {given("active", due(-hour)), Env{Paused: true, PausedUntil: in(10 * time.Second)}, 10 * time.Second},
		"throttled":                     {given("active", due(-hour), maxTTL(0)), Env{ThrottledUntil: in(hour)}, hour},
		"in flight":                     {given("sending", due(-hour)), Env{}, OverdueTTL},
		"in flight, frozen":             {given("sending", due(-hour)), Env{Frozen: true}, OverdueTTL},
		"in flight, paused":             {given("sending", due(-hour)), Env{Paused: true}, OverdueTTL},
		"in flight, throttled":          {given("sending", due(-hour)), Env{ThrottledUntil: in(hour)}, OverdueTTL},
		"in flight, disabled":           {given("sending", due(-hour), disabled), Env{}, OverdueTTL},
		"no longer in flight":           {given("sending overdue", due(-hour), maxTTL(0)), Env{ThrottledUntil: in(hour)}, hour},
	} {
		assert.Equal(t, row.want, row.role.TTL(now, row.env), name)
	}
}

// With max_read_ttl, readers share out the remaining time, so that the last of their reads is not before the due time.
func TestLastReadFallsOnDueTime(t *testing.T) {
	t.Parallel()
	for remaining := 1; remaining < 5000; remaining += 7 {
		for _, limit := range []int{0, 10, 60, 300} {
			got := int(given("active", due(time.Duration(remaining)*time.Second), maxTTL(limit)).TTL(now, Env{}).Seconds())
			require.GreaterOrEqual(t, got, 1)
			if limit == 0 {
				require.Equal(t, remaining, got)
				continue
			}
			require.LessOrEqual(t, got, limit)
			parts := int(math.Ceil(float64(remaining) / float64(limit)))
			require.GreaterOrEqual(t, parts*got, remaining, "the last read is not before the due time")
			require.Less(t, (parts-1)*got, remaining, "and the one before it is")
		}
	}
}

func TestPeriodIsPositiveForEverySchedule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options Options
		want    int
	}{
		{Options{RotationPeriod: 86400}, 86400},
		{Options{RotationSchedule: "0 3 * * *"}, 86400},
		{Options{RotationSchedule: "0 3 * * 6"}, 7 * 86400},
		{Options{RotationSchedule: "*/5 * * * *"}, 300},
		{Options{RotationSchedule: never}, 300},
		{Options{RotationSchedule: "damaged", MaxReadTTL: 60}, 60},
		{Options{RotationPeriod: -1, MaxReadTTL: -1}, 300},
		{Options{MaxReadTTL: 60}, 60},
		{Options{}, 300},
	} {
		require.Equal(t, c.want, c.options.Period(now), "%+v", c.options)
	}
	last := time.Date(2095, 3, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, 300, Options{RotationSchedule: "0 0 29 2 *"}.Period(last), "2100 is not a leap year, so 2096 has no next one in sight")
}
