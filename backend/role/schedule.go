package role

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	cron "github.com/hashicorp/vault/sdk/rotation"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/timing"
)

// cronCharacters may occur in a rotation_schedule.
const cronCharacters = password.Lower + password.Upper + password.Digits + " */,?-"

// Timing returns the options that determine the due time, for comparison.
func (o Options) Timing() [2]any { return [2]any{o.RotationPeriod, o.RotationSchedule} }

func (o Options) validateSchedule() error {
	switch {
	case o.RotationPeriod != 0 && o.RotationSchedule != "":
		return errors.New("set either rotation_period or rotation_schedule, not both")
	case o.RotationPeriod != 0 && o.RotationPeriod < int(minPeriod/time.Second):
		return fmt.Errorf("rotation_period must be at least %d seconds", int(minPeriod/time.Second))
	case o.RotationWindow != 0 && o.RotationSchedule == "":
		return errors.New("rotation_window requires rotation_schedule")
	case o.RotationWindow != 0 && o.RotationWindow < int(minWindow/time.Second):
		return fmt.Errorf("rotation_window must be at least %d seconds", int(minWindow/time.Second))
	case o.RotationSchedule == "":
		return nil
	}
	next, err := parseSchedule(o.RotationSchedule)
	if err != nil {
		return err
	}
	if next(time.Now()).IsZero() {
		return fmt.Errorf("rotation_schedule %s never matches a date in the coming years", quoted(o.RotationSchedule))
	}
	return nil
}

// quoted returns a value for an error.
func quoted(text string) string {
	const longest = 100
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return strconv.Quote(text)
}

// Warnings returns what is unusual about valid options, as sentences for the user who set them.
func (o Options) Warnings(now time.Time) []string {
	var out []string
	if read := o.RotateAfterRead; read > 0 && read < int(minPeriod/time.Second) {
		out = append(out, fmt.Sprintf("rotate_after_read is %ds: a reader has no longer than that to use the password.", read))
	}
	if o.RotationWindow > 0 && !o.windowCloses(now) {
		out = append(out, fmt.Sprintf("rotation_window (%d seconds) is longer than the time between two dates of rotation_schedule, so it never ends: a rotation may begin at any time.", o.RotationWindow))
	}
	return append(out, o.verifyWarnings()...)
}

// windowCloses reports whether a window ends before the next one opens.
func (o Options) windowCloses(now time.Time) bool {
	const dates = 50_000 // more than a month of minutes
	next, err := parseSchedule(o.RotationSchedule)
	if err != nil {
		return true
	}
	at := next(now.UTC())
	for range dates {
		after := next(at)
		if after.IsZero() || after.Sub(at) >= timing.Seconds(o.RotationWindow) {
			return true
		}
		at = after
	}
	return false
}

// schedules holds parsed cron expressions, because a read of creds needs that of its role several times.
var schedules struct {
	sync.Mutex
	byText map[string]nextTime
	size   int // of all texts
}

// maxSchedules bounds schedules, in bytes.
const maxSchedules = 1 << 20

// nextTime returns the next time after a given one; zero if there is none in the coming years.
type nextTime func(time.Time) time.Time

// parseSchedule parses a cron expression. The SDK's parser also accepts descriptors and time zones, and panics on some of them,
// so only plain expressions are passed to it. All times are in UTC.
func parseSchedule(text string) (nextTime, error) {
	schedules.Lock()
	known := schedules.byText[text]
	schedules.Unlock()
	if known != nil {
		return known, nil
	}
	next, err := parseCron(text)
	if err != nil {
		return nil, err
	}
	schedules.Lock()
	defer schedules.Unlock()
	if schedules.byText[text] != nil { // another caller was faster
		return next, nil
	}
	if schedules.size += len(text); schedules.byText == nil || schedules.size > maxSchedules {
		schedules.byText, schedules.size = map[string]nextTime{}, len(text)
	}
	schedules.byText[text] = next
	return next, nil
}

func parseCron(text string) (nextTime, error) {
	if strings.Trim(text, cronCharacters) != "" {
		return nil, fmt.Errorf("rotation_schedule %s must be a cron expression with five fields in UTC: use only letters, digits, spaces and * / , ? -", quoted(text))
	}
	parsed, err := cron.DefaultScheduler.Parse(sundayAsZero(text))
	if err != nil {
		return nil, fmt.Errorf("rotation_schedule %s must be a cron expression with five fields in UTC, each in its range: minute (0-59), hour (0-23), day of month (1-31), month (1-12), day of week (0-7, Sunday is 0 or 7)", quoted(text))
	}
	return parsed.Next, nil
}

// sundayAsZero replaces 7, which means Sunday to most users of cron and is unknown to the parser, in the day of the week.
func sundayAsZero(text string) string {
	fields := strings.Fields(text)
	if len(fields) != 5 || !strings.Contains(fields[4], "7") {
		return text
	}
	var days []string
	for day := range strings.SplitSeq(fields[4], ",") {
		days = append(days, withoutSeven(day)...)
	}
	fields[4] = strings.Join(days, ",")
	return strings.Join(fields, " ")
}

// withoutSeven returns the days of one item of a list of weekdays, which may be a range with a step. Without a 7, that is the
// item.
func withoutSeven(item string) []string {
	span, step, stepped := strings.Cut(item, "/")
	first, last, isRange := strings.Cut(span, "-")
	if span == "7" && !stepped {
		return []string{"0"}
	}
	from, err := strconv.Atoi(first)
	by := 1
	if err == nil && stepped {
		by, err = strconv.Atoi(step)
	}
	if err != nil || !isRange || last != "7" || from < 0 || by < 1 || by > 7 {
		return []string{item} // the parser reports what is wrong
	}
	var days []string
	for day := from; day <= 7; day += by {
		days = append(days, strconv.Itoa(day%7))
	}
	return days
}

// DueAfter returns when a password that came into force at t is due for rotation; zero if it is rotated only manually.
func (o Options) DueAfter(t time.Time) time.Time {
	switch {
	case o.RotationPeriod > 0:
		return t.Add(max(minPeriod, timing.Seconds(o.RotationPeriod))) // only a damaged entry has less
	case o.RotationSchedule != "":
		next, err := parseSchedule(o.RotationSchedule)
		if err != nil { // only a damaged entry has one that cannot be parsed
			return time.Time{}
		}
		return next(t.UTC())
	default:
		return time.Time{}
	}
}

// DueAgain returns the first time after now at which a password that came into force at since is due. A time in the future, at
// which a clock was ahead, counts as now.
func (o Options) DueAgain(since, now time.Time) time.Time {
	if timing.Ahead(since, now) {
		since = now
	}
	due := o.DueAfter(since)
	if due.IsZero() || due.After(now) {
		return due
	}
	if o.RotationPeriod > 0 {
		period := max(minPeriod, timing.Seconds(o.RotationPeriod))
		return now.Add(period - now.Sub(due)%period)
	}
	return o.DueAfter(now)
}

// Leaves reports whether the schedule leaves a queued password enough time to settle before the next one is due.
func (o Options) Leaves(settle time.Duration, now time.Time) bool {
	return o.RotationPeriod == 0 && o.RotationSchedule == "" || timing.Seconds(o.Period(now)) > settle
}

// inWindow returns when a rotation that is due may begin, not before now: at once if a window is open, or when the next one
// opens. Without windows, it returns due. It returns false if no window opens in the coming years.
func (o Options) inWindow(due, now time.Time) (time.Time, bool) {
	if o.RotationWindow <= 0 || o.RotationSchedule == "" {
		return due, true
	}
	next, err := parseSchedule(o.RotationSchedule)
	if err != nil { // only a damaged entry has one that cannot be parsed
		return time.Time{}, false
	}
	at := timing.Later(due, now).UTC()
	opens := next(at.Add(-timing.Seconds(o.RotationWindow) - time.Nanosecond)) // the first one that may still be open
	switch {
	case opens.IsZero():
		return time.Time{}, false
	case opens.After(at):
		return opens, true
	default:
		return at, true
	}
}
