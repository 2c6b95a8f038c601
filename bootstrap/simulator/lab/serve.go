package lab

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Response is an answer that has not been sent yet.
type Response struct {
	Status int
	Header http.Header // may be nil
	Type   string      // Content-Type
	Body   []byte
}

// Outcome is the effect of a request on one target, for the journal.
type Outcome struct {
	Target  string
	Result  string // the system's own code
	Applied bool
}

// Call is a request that its system has parsed, authenticated and accepted.
type Call struct {
	System    string
	Targets   []string // the targets of faults that apply
	Operation string   // the system's own name for it
	Class     string   // one of the Op constants
	Body      []byte   // as received; some proxies echo it
	Password  string   // the new password of a change, "" if there is none
	// Execute handles the request as the real system does. It is called at most
	// once, and on another goroutine than the request's if the fault is [Late].
	Execute func() (Response, []Outcome)
	// Word returns the system's own answer for the kinds Refuse, RejectTarget,
	// Busy, Throttle (variant json), Deny, NoSuccess and Err500. If the system has
	// no such answer, ok is false and the request is handled normally.
	Word func(f Fault) (response Response, result string, ok bool)

	arrived time.Time
	nth     map[string]int // by target: see Entry.Nth
}

// Serve handles a call, normally or as the first matching fault demands.
func (l *Lab) Serve(w http.ResponseWriter, r *http.Request, c Call) {
	c.arrived = l.Clock.Now()
	leave := l.enter(&c)
	defer func() { leave() }()
	a := l.Faults.take(c.System, c.Targets, c.Class)
	if a == nil {
		Send(w, l.execute(&c, ""))
		return
	}
	f := a.Fault
	delay := time.Duration(f.DelayMS) * time.Millisecond
	switch f.Kind {
	case Late:
		stay := leave // the change stays in progress until it is made
		leave = func() {}
		l.background.Go(func() {
			defer stay()
			if l.due(a, delay) {
				l.execute(&c, Late)
			}
		})
		cut(w)
		return
	case Slow:
		// A client that gave up does not stop a server that already has the request.
		if l.due(a, delay) {
			Send(w, l.execute(&c, Slow))
		}
		return
	default: // the other kinds only differ in the answer
	}
	response, ok := l.answer(&c, &f)
	if !ok {
		response = l.execute(&c, "")
	}
	switch f.Kind {
	case Cut, ApplyCut:
		cut(w)
	case Stall:
		l.hold(r.Context(), a)
		cut(w)
	case Hold:
		if l.hold(r.Context(), a) {
			Send(w, response)
		} else {
			cut(w)
		}
	case Huge:
		sendHuge(w, response)
	default:
		Send(w, response)
	}
}

// execute handles the call normally and records it in the journal.
func (l *Lab) execute(c *Call, kind Kind) Response {
	response, outcomes := c.Execute()
	for _, o := range outcomes {
		l.Journal.Add(Entry{
			System: c.System, Target: o.Target, Operation: c.Operation, Result: o.Result, Applied: o.Applied, Fault: kind,
			Arrived: c.arrived, Nth: c.nth[o.Target],
		})
	}
	return response
}

// skip records in the journal that a fault prevented the call.
func (l *Lab) skip(c *Call, kind Kind, result string) {
	targets := c.Targets
	if len(targets) == 0 {
		targets = []string{""}
	}
	for _, t := range targets {
		l.Journal.Add(Entry{
			System: c.System, Target: t, Operation: c.Operation, Result: result, Fault: kind, Arrived: c.arrived, Nth: c.nth[t],
		})
	}
}

// answer returns the answer that a fault calls for, and makes the change if the
// fault includes it.
func (l *Lab) answer(c *Call, f *Fault) (Response, bool) {
	worded, result, ok := l.word(c, f)
	if !ok {
		return Response{}, false
	}
	if f.applies() {
		usual := l.execute(c, f.Kind)
		switch f.Kind {
		case Hold, Huge:
			return usual, true
		case Truncated:
			usual.Body = usual.Body[:len(usual.Body)/2]
			return usual, true
		default:
			return worded, true
		}
	}
	l.skip(c, f.Kind, result)
	return worded, true
}

// word returns the answer that a fault calls for, without handling the call.
func (l *Lab) word(c *Call, f *Fault) (Response, string, bool) {
	retry := http.Header{}
	if f.RetryAfter > 0 {
		retry.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	if f.RetryAfterDate {
		at := l.Clock.Now().Add(time.Duration(f.RetryAfter) * time.Second)
		retry.Set("Retry-After", at.Format(http.TimeFormat))
	}
	page := func(status int, title string) (Response, string, bool) {
		return Response{Status: status, Header: retry, Type: "text/html", Body: htmlPage(title, c.Body)}, strconv.Itoa(status), true
	}
	switch f.Kind {
	case Throttle:
		switch f.Variant {
		case "empty":
			return Response{Status: http.StatusTooManyRequests, Header: retry}, "429", true
		case "html":
			return page(http.StatusTooManyRequests, "Too Many Requests")
		}
		response, result, ok := c.Word(*f)
		response.Header = retry
		return response, result, ok
	case Refuse, RejectTarget, Busy, Deny, NoSuccess, Err500:
		response, result, ok := c.Word(*f)
		if response.Header == nil {
			response.Header = retry
		}
		return response, result, ok
	case Apply500:
		g := *f
		g.Kind = Err500
		return c.Word(g)
	case Apply502HTML:
		return page(http.StatusBadGateway, "Bad Gateway")
	case HTML503, Apply503HTML:
		return page(http.StatusServiceUnavailable, "Service Unavailable")
	case HTML:
		return page(http.StatusForbidden, "Forbidden")
	case HTML200:
		return page(http.StatusOK, "Welcome")
	case Empty200:
		return Response{Status: http.StatusOK}, "200", true
	case Redirect:
		location := f.Location
		if location == "" {
			location = l.trap()
		}
		return Response{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {location}}}, "307", true
	case Truncated, Huge:
		return Response{Status: http.StatusOK, Type: "text/plain", Body: []byte("<")}, "200", true
	default: // Cut, ApplyCut, Hold, Stall: no answer of their own
		return Response{}, "cut", true
	}
}

// htmlPage returns the error page of a proxy in front of a system. It echoes the
// request, as some proxies do, so that a client that copies bodies into its errors
// or logs leaks the password and is caught.
func htmlPage(title string, request []byte) []byte {
	return fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%s</title></head>\n<body><h1>%s</h1>\n<p>Your request was:</p>\n<pre>%s</pre>\n</body></html>\n",
		title, title, request)
}

// due waits until a late change is to be made. It reports false if the lab stops
// first.
func (l *Lab) due(a *activeFault, delay time.Duration) bool {
	if a.Variant == held {
		return l.hold(l.ctx, a)
	}
	return l.wait(delay)
}

// hold waits until the fault is removed. It reports false if the client leaves or
// the lab stops first.
func (l *Lab) hold(ctx context.Context, a *activeFault) bool {
	l.Faults.holding(a, +1)
	defer l.Faults.holding(a, -1)
	select {
	case <-a.released:
		return true
	case <-ctx.Done():
		return false
	case <-l.ctx.Done():
		return false
	}
}

// Send sends a complete answer.
func Send(w http.ResponseWriter, response Response) {
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	if response.Type != "" {
		w.Header().Set("Content-Type", response.Type)
	} else {
		w.Header()["Content-Type"] = nil // keep net/http from guessing one
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(response.Body)))
	w.WriteHeader(response.Status)
	_, _ = w.Write(response.Body) // the client may be gone
}

// hugeSize is the size of the body of a [Huge] answer.
const hugeSize = 64 << 20

// sendHuge sends the body, padded with spaces to more than any client should read.
func sendHuge(w http.ResponseWriter, response Response) {
	w.Header().Set("Content-Type", response.Type)
	w.WriteHeader(response.Status)
	if _, err := w.Write(response.Body); err != nil {
		return
	}
	chunk := make([]byte, 64<<10)
	for i := range chunk {
		chunk[i] = ' '
	}
	for sent := len(response.Body); sent < hugeSize; sent += len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// cut closes the connection of a request without an answer.
func cut(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if conn, _, err := hijacker.Hijack(); err == nil {
			_ = conn.Close() // the point is to break it
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// TakeLogin returns the kind of the first matching fault for a login, if any, and
// counts it as used. Logins support Busy, Cut and Stall; callers treat any other
// kind as Cut. With Stall, it returns when the fault is removed.
func (l *Lab) TakeLogin(system, target string) (Kind, bool) {
	a := l.Faults.take(system, []string{target}, OpLogin)
	if a == nil {
		return "", false
	}
	if a.Kind == Stall {
		l.hold(l.ctx, a)
	}
	return a.Kind, true
}
