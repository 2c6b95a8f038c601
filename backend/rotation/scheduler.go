package rotation

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// workers bounds how many jobs are worked on at a time, over all connections, beyond the first of each.
const workers = 256

// job is what waits for its time: a role, or the probe of a paused connection.
type job struct {
	role       string
	connection string
	probe      bool
}

// scheduler calls a function for each job when its time has come: one heap, one timer, and no goroutine for a job that
// waits. Storage is the truth about what is due; the scheduler may forget, and be told again.
//
// Jobs whose time has come stand in the lane of their connection. The lanes take turns, and each has as many jobs under way
// as its connection has room for, but no more than there are workers left over: one connection that hangs leaves half of
// them to the others. And however many hang, each of the others has one.
type scheduler struct {
	clock func() time.Time
	work  func(context.Context, job)
	// room is how many jobs of a connection may be under way. It must not call the scheduler.
	room func(connection string) int
	// open tells whether jobs may begin at all. It must not call the scheduler.
	open func() bool

	mu     sync.Mutex // guards the fields below
	queue  byTime[*place]
	roles  map[string]*place
	probes map[string]*place
	lanes  map[string]*lane
	// busy are the lanes in which jobs stand; turn is whose turn it is.
	busy    []*lane
	turn    int
	running int
	// alarm is when run looks at the queue again by itself.
	alarm instant
	wake  chan struct{}
}

// place is where a job stands. Roles that wait for nothing have one too: it says that they are known.
type place struct {
	name  string
	lane  *lane
	at    instant
	index int32 // in the queue, or in the lane
	where where
	probe bool
}

func (p *place) when() instant     { return p.at }
func (p *place) moved(index int32) { p.index = index }

// where a job stands.
type where uint8

const (
	nowhere where = iota
	inQueue
	inLane
)

// lane is the jobs of one connection whose time has come.
type lane struct {
	connection string
	ready      byTime[*place]
	running    int
	users      int  // places that refer to it
	busy       bool // it is among the busy ones
}

func newScheduler(clock func() time.Time, work func(context.Context, job), room func(string) int, open func() bool) *scheduler {
	return &scheduler{
		clock: clock, work: work, room: room, open: open,
		roles: map[string]*place{}, probes: map[string]*place{}, lanes: map[string]*lane{},
		alarm: math.MaxInt64, wake: make(chan struct{}, 1),
	}
}

// set says when a role has to be worked on. connection may be empty where the role is known.
func (s *scheduler) set(role, connection string, at time.Time) {
	s.put(s.roles, role, connection, at, false)
}

// probe says when a paused connection is tried.
func (s *scheduler) probe(connection string, at time.Time) {
	s.put(s.probes, connection, connection, at, true)
}

func (s *scheduler) put(places map[string]*place, name, connection string, at time.Time, probe bool) {
	s.mu.Lock()
	p := s.known(places, name, connection, probe)
	s.take(p)
	p.at, p.where = instantOf(at), inQueue
	heap.Push(&s.queue, p)
	early := p.at < s.alarm
	s.mu.Unlock()
	if early {
		s.poke()
	}
}

// rest says that a role waits for nothing.
func (s *scheduler) rest(role, connection string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(s.known(s.roles, role, connection, false))
}

// forget: the role is gone.
func (s *scheduler) forget(role string) { s.drop(s.roles, role) }

// endProbes: the connection is gone, or paused no more.
func (s *scheduler) endProbes(connection string) { s.drop(s.probes, connection) }

func (s *scheduler) drop(places map[string]*place, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := places[name]; p != nil {
		s.take(p)
		s.leave(p.lane)
		delete(places, name)
	}
}

// knows tells whether the role has been set or rests.
func (s *scheduler) knows(role string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roles[role] != nil
}

// known returns the place of a name, a new one if there is none; s.mu is held.
func (s *scheduler) known(places map[string]*place, name, connection string, probe bool) *place {
	p := places[name]
	if p == nil {
		p = &place{name: name, probe: probe}
		places[name] = p
	}
	if p.lane != nil && (connection == "" || p.lane.connection == connection) {
		return p
	}
	s.take(p)
	if p.lane != nil { // a role of that name was made anew
		s.leave(p.lane)
	}
	p.lane = s.lanes[connection]
	if p.lane == nil {
		p.lane = &lane{connection: connection}
		s.lanes[connection] = p.lane
	}
	p.lane.users++
	return p
}

// leave lets a lane go that nothing refers to any more; s.mu is held.
func (s *scheduler) leave(l *lane) {
	if l.users--; l.users == 0 && l.running == 0 {
		delete(s.lanes, l.connection)
	}
}

// take removes a place from where it stands; s.mu is held.
func (s *scheduler) take(p *place) {
	switch p.where {
	case inQueue:
		heap.Remove(&s.queue, int(p.index))
	case inLane:
		heap.Remove(&p.lane.ready, int(p.index))
	case nowhere:
	}
	p.where = nowhere
}

// poke makes run look again.
func (s *scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run works until its context ends, and returns when its workers have.
func (s *scheduler) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for ctx.Err() == nil {
		jobs, wait := s.next()
		for _, p := range jobs {
			group.Go(func() {
				defer s.ended(p.lane)
				s.work(ctx, p.job)
			})
		}
		alarm.Reset(wait)
		select {
		case <-alarm.C:
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

// begun is a job that begins, and the lane it came from.
type begun struct {
	job
	lane *lane
}

// next takes the jobs that may begin, and says after which time to look again if nothing wakes run before.
func (s *scheduler) next() (jobs []begun, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := instantOf(s.clock())
	for len(s.queue) > 0 && s.queue[0].at <= now {
		p := s.queue[0]
		heap.Pop(&s.queue)
		if !p.lane.busy {
			p.lane.busy = true
			s.busy = append(s.busy, p.lane)
		}
		p.where = inLane
		heap.Push(&p.lane.ready, p)
	}
	if s.open() {
		jobs = s.begin()
	}
	wait = time.Hour
	if len(s.queue) > 0 {
		wait = min(wait, time.Duration(s.queue[0].at-now))
	}
	s.alarm = now + instant(wait)
	return jobs, wait
}

// begin lets the lanes take turns until none of them may begin another job; s.mu is held.
func (s *scheduler) begin() (jobs []begun) {
	for stuck := 0; stuck < len(s.busy); {
		if s.turn >= len(s.busy) {
			s.turn = 0
		}
		l := s.busy[s.turn]
		if len(l.ready) == 0 {
			l.busy = false
			s.busy = slices.Delete(s.busy, s.turn, s.turn+1)
			continue
		}
		if l.running > 0 && l.running >= workers-s.running || l.running >= s.room(l.connection) {
			s.turn++
			stuck++
			continue
		}
		p := l.ready[0]
		heap.Pop(&l.ready)
		p.where = nowhere
		l.running++
		s.running++
		j := job{role: p.name, connection: l.connection}
		if p.probe {
			j.role, j.probe = "", true
		}
		jobs = append(jobs, begun{j, l})
		stuck = 0
		s.turn++
	}
	return jobs
}

// ended: a job of the lane has ended.
func (s *scheduler) ended(l *lane) {
	s.mu.Lock()
	l.running--
	s.running--
	if l.users == 0 && l.running == 0 && s.lanes[l.connection] == l {
		delete(s.lanes, l.connection)
	}
	waiting := len(s.busy) > 0
	s.mu.Unlock()
	if waiting {
		s.poke()
	}
}

// spread puts the jobs of roles whose time is past off, each by its own time: after a long stop, when nothing was let begin,
// or both, not all of them come at once.
func (s *scheduler) spread(by func(role string) time.Duration) {
	now := instantOf(s.clock())
	s.mu.Lock()
	late := make([]*place, 0, len(s.queue))
	for _, p := range s.roles {
		if p.where != nowhere && p.at <= now {
			late = append(late, p)
		}
	}
	for _, p := range late {
		s.take(p)
		p.at, p.where = now+instant(by(p.name)), inQueue
		heap.Push(&s.queue, p)
	}
	s.mu.Unlock()
	s.poke()
}
