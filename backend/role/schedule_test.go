package role

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScheduleIsFiveFieldCron(t *testing.T) {
	t.Parallel()
	for _, schedule := range []string{
		"TZ=UTC", "CRON_TZ=UTC", "TZ=Asia/Tokyo 0 0 * * *", "@daily", "@every 1h", "0 0 * *", "0 0 0 * * *", "x", "61 0 * * *", "0 0 30 2 *",
	} {
		require.Error(t, Options{RotationSchedule: schedule}.validateSchedule(), schedule)
	}
	for _, schedule := range []string{"0 0 * * *", "*/5 1-3 1,15 JAN-DEC MON", "0 0 29 2 *", "0 0 ? * SAT"} {
		require.NoError(t, Options{RotationSchedule: schedule}.validateSchedule(), schedule)
	}
}

// Most users of cron know 7 as Sunday.
func TestSevenIsSunday(t *testing.T) {
	t.Parallel()
	for schedule, same := range map[string]string{
		"0 3 * * 7": "0 3 * * 0", "0 3 * * 5-7": "0 3 * * 5,6,0", "0 3 * * 1,7": "0 3 * * 1,0", "0 3 * * 1-7/2": "0 3 * * 1,3,5,0",
		"0 3 * * 0-7": "0 3 * * *", "0 3  *  *  7-7": "0 3 * * 0", "7 7 7 7 *": "7 7 7 7 *", "0 3 * * */7": "0 3 * * */7",
	} {
		next, err := parseSchedule(schedule)
		require.NoError(t, err, schedule)
		want, err := parseSchedule(same)
		require.NoError(t, err, same)
		for a, b, i := now, now, 0; i < 10; i++ {
			a, b = next(a), want(b)
			require.Equal(t, b, a, schedule)
		}
	}
	for _, schedule := range []string{"0 3 * * 8", "0 3 * * 7/2", "0 3 * * 9-7", "0 3 * * 1-7/0", "0 3 * * -7", "0 3 * * 1-7/9223372036854775807", "0 3 * * x-7"} {
		_, err := parseSchedule(schedule)
		require.ErrorContains(t, err, "rotation_schedule \""+schedule+"\" must be a cron expression", schedule)
	}
}

func TestOddTimingIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		options Options
		want    string
	}{
		"period":                          {Options{RotationPeriod: 60}, ""},
		"after a minute":                  {Options{RotateAfterRead: 60}, ""},
		"after a second":                  {Options{RotateAfterRead: 1}, "rotate_after_read is 1s"},
		"window":                          {Options{RotationSchedule: "0 3 * * *", RotationWindow: 3600}, ""},
		"window as long as the interval":  {Options{RotationSchedule: "0 3 * * *", RotationWindow: 86400}, ""},
		"window longer than the interval": {Options{RotationSchedule: "0 3 * * *", RotationWindow: 86401}, "rotation_window (86401 seconds) is longer"},
		"window of every minute":          {Options{RotationSchedule: "* * * * *", RotationWindow: 3600}, "rotation_window (3600 seconds) is longer"},
		"window that ends at weekends":    {Options{RotationSchedule: "0 3 * * 1-5", RotationWindow: 90000}, ""},
		"window in one week of a month":   {Options{RotationSchedule: "* * 1-7 * *", RotationWindow: 3600}, ""},
	} {
		got := row.options.Warnings(now)
		if row.want == "" {
			require.Empty(t, got, name)
			continue
		}
		require.Len(t, got, 1, name)
		require.Contains(t, got[0], row.want, name)
	}
}

func TestDueTimeIsInUTC(t *testing.T) {
	t.Parallel()
	tokyo := time.FixedZone("Tokyo", 9*60*60)
	due := Options{RotationSchedule: "30 3 * * *"}.DueAfter(now.In(tokyo)) // 21:00 there
	require.Equal(t, time.Date(2026, 3, 2, 3, 30, 0, 0, time.UTC), due)
	opens, ok := Options{RotationSchedule: "30 3 * * *", RotationWindow: twoHour}.inWindow(in(-time.Hour).In(tokyo), now.In(tokyo))
	require.True(t, ok)
	require.Equal(t, due, opens)
}

func TestWindowOpensAtScheduledTime(t *testing.T) {
	t.Parallel()
	at := func(clock string) time.Time {
		v, err := time.Parse(time.RFC3339, "2026-03-"+clock+":00Z")
		require.NoError(t, err)
		return v
	}
	nightly := Options{RotationSchedule: "0 3 * * *", RotationWindow: twoHour}
	for _, c := range []struct {
		options        Options
		due, now, want string
	}{
		{nightly, "02T03:00", "01T12:00", "02T03:00"},
		{nightly, "02T03:00", "02T04:00", "02T04:00"},
		{nightly, "02T03:00", "02T05:00", "02T05:00"},
		{nightly, "02T03:00", "02T05:01", "03T03:00"},
		{nightly, "02T12:00", "02T11:00", "03T03:00"}, // by a read
		{nightly, "02T04:30", "02T01:00", "02T04:30"}, // an attempt
		{nightly, "02T03:00", "09T02:59", "09T03:00"},
		{Options{RotationSchedule: "0 3 * * *"}, "02T03:00", "02T12:00", "02T03:00"},
		{Options{RotationPeriod: 60}, "02T03:00", "02T12:00", "02T03:00"},
	} {
		got, ok := c.options.inWindow(at(c.due), at(c.now))
		require.True(t, ok)
		require.Equal(t, at(c.want), got, "%v", c)
	}
	_, ok := Options{RotationSchedule: never, RotationWindow: 3600}.inWindow(at("02T03:00"), at("02T12:00"))
	require.False(t, ok)
}

func TestDueTimeFollowsOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options Options
		after   time.Duration // zero: by hand
	}{
		"by hand":                 {Options{}, 0},
		"period":                  {Options{RotationPeriod: 3600}, time.Hour},
		"damaged, period too low": {Options{RotationPeriod: 1}, minPeriod},
		"damaged, negative":       {Options{RotationPeriod: -5}, 0},
		"schedule":                {Options{RotationSchedule: "30 * * * *"}, 30 * time.Minute},
		"schedule at this time":   {Options{RotationSchedule: "0 12 * * *"}, 24 * time.Hour},
		"schedule, never":         {Options{RotationSchedule: never}, 0},
		"damaged schedule":        {Options{RotationSchedule: "TZ="}, 0},
		"window":                  {Options{RotationSchedule: "0 15 * * *", RotationWindow: twoHour}, 3 * time.Hour},
		"disabled":                {Options{RotationPeriod: 3600, Disabled: true}, time.Hour},
		"on read":                 {Options{RotationPeriod: 3600, RotationMode: ModeOnRead}, time.Hour},
		"after read":              {Options{RotateAfterRead: 3600}, 0},
	} {
		want := time.Time{}
		if c.after != 0 {
			want = in(c.after)
		}
		require.Equal(t, want, c.options.DueAfter(now), name)
	}
}

// Other options, or none stored, never make a password due.
func TestDueAgainIsAheadAndInStep(t *testing.T) {
	t.Parallel()
	hour := Options{RotationPeriod: 3600}
	for name, c := range map[string]struct {
		options     Options
		since, want time.Duration
	}{
		"not due yet":         {hour, -20 * time.Minute, 40 * time.Minute},
		"due now":             {hour, -time.Hour, time.Hour},
		"due long ago":        {hour, -150 * time.Minute, 30 * time.Minute},
		"due for the n-th":    {hour, -48 * time.Hour, time.Hour},
		"damaged":             {Options{RotationPeriod: 1}, -time.Minute, minPeriod},
		"schedule, to come":   {Options{RotationSchedule: toCome}, -time.Hour, 3 * time.Hour},
		"schedule, over":      {Options{RotationSchedule: missed}, -24 * time.Hour, 21 * time.Hour},
		"schedule, long over": {Options{RotationSchedule: hourly}, -240 * time.Hour, time.Hour},
	} {
		require.Equal(t, in(c.want), c.options.DueAgain(in(c.since), now), name)
	}
	require.Zero(t, Options{}.DueAgain(in(-time.Hour), now))
	require.Zero(t, Options{RotationSchedule: never}.DueAgain(in(-time.Hour), now))
}

func TestQueuedPasswordSettlesBeforeNextIsDue(t *testing.T) {
	t.Parallel()
	const step = 10 * time.Minute
	for name, c := range map[string]struct {
		options Options
		want    bool
	}{
		"by hand":         {Options{}, true},
		"after read":      {Options{RotateAfterRead: 1}, true},
		"longer period":   {Options{RotationPeriod: 601}, true},
		"same period":     {Options{RotationPeriod: 600}, false},
		"shorter period":  {Options{RotationPeriod: 10}, false},
		"longer schedule": {Options{RotationSchedule: hourly}, true},
		"shorter":         {Options{RotationSchedule: "*/5 * * * *"}, false},
	} {
		require.Equal(t, c.want, c.options.Leaves(step, now), name)
	}
}

func TestOnlyScheduleOptionsChangeTiming(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options Options
		same    bool
	}{
		"none":     {Options{}, true},
		"others":   {Options{RotationWindow: 1, RotateAfterRead: 1, Disabled: true, MaxReadTTL: 1, RotationMode: ModeOnRead}, true},
		"period":   {Options{RotationPeriod: 1}, false},
		"schedule": {Options{RotationSchedule: hourly}, false},
	} {
		require.Equal(t, c.same, c.options.Timing() == (Options{}).Timing(), name)
	}
}

func TestHugePeriodIsNeverDue(t *testing.T) {
	t.Parallel()
	const century = 100 * 365 * 24 * time.Hour
	require.True(t, Options{RotationPeriod: math.MaxInt}.DueAfter(now).After(in(century)))
}

// A read needs the schedule several times, so it is parsed once. What is kept does not grow without bound.
func TestScheduleIsParsedOnce(t *testing.T) { //nolint:paralleltest // it counts what is kept for all
	first, err := parseSchedule("7 3 * * *")
	require.NoError(t, err)
	require.NotNil(t, first)
	schedules.Lock()
	kept := schedules.byText["7 3 * * *"]
	schedules.Unlock()
	require.NotNil(t, kept)
	require.Equal(t, first(now), kept(now))
	_, err = parseSchedule("never")
	require.Error(t, err)
	minutes := strings.Repeat("0,", 1000)
	for i := range maxSchedules / len(minutes) * 3 {
		_, err = parseSchedule(minutes + strconv.Itoa(i%60) + "," + strconv.Itoa(i/60) + " 0 * * *")
		require.NoError(t, err)
	}
	schedules.Lock()
	defer schedules.Unlock()
	size := 0
	for text := range schedules.byText {
		size += len(text)
	}
	require.Equal(t, size, schedules.size)
	require.LessOrEqual(t, size, maxSchedules)
	require.NotContains(t, schedules.byText, "never")
}
