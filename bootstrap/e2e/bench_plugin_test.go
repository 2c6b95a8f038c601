package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"

	"vault-plugin-secrets-hosting/backend"
)

// measuring is an environment variable that makes the test binary a plugin for Vault: the engine, with additional paths
// that measure its process.
const measuring = "HOSTING_MEASURE"

// version is the version that this plugin reports to Vault.
const version = "v0.0.1-measured"

// servePluginOr serves the plugin if Vault has started this binary as one. Otherwise it calls tests.
func servePluginOr(tests func()) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "-version":
		fmt.Println(version)
	case os.Getenv(measuring) != "":
		if err := serveMeasured(); err != nil {
			os.Exit(1)
		}
	default:
		tests()
	}
}

// serveMeasured returns when Vault has no more use for the plugin.
func serveMeasured() error {
	return plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: func(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
		made, err := backend.Factory(version)(ctx, conf)
		if err != nil {
			return nil, err
		}
		inner, ok := made.(*backend.Backend)
		if !ok {
			return nil, errors.New("the factory returns another type")
		}
		return &measured{Backend: inner}, nil
	}})
}

// measured is the engine and its measurements.
type measured struct {
	*backend.Backend

	mu sync.Mutex // guards the fields below
	// before is what was in use before the roles were read.
	before resources
	// took is how long it took to read all roles, 0 before it is done. The engine reads them at its start. If storage has an
	// entry bareKey, the entries are only listed and read instead.
	took time.Duration
}

const bareKey = "measure/bare"

// resources are the resources that the process uses.
type resources struct {
	heap       uint64
	goroutines int
}

func inUse() resources {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // frees what the first one finalized
	runtime.ReadMemStats(&stats)
	return resources{stats.HeapAlloc, runtime.NumGoroutine()}
}

// processor returns the CPU time that the process has used.
func processor() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func (m *measured) Initialize(ctx context.Context, req *logical.InitializationRequest) error {
	bare, err := req.Storage.Get(ctx, bareKey)
	if err != nil {
		return err
	}
	m.before = inUse()
	began := time.Now()
	if bare == nil {
		err = m.Backend.Initialize(ctx, req)
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		load := m.waitUntilComplete
		if bare != nil {
			load = listAndGet
		}
		if err := load(ctx, req.Storage); err != nil {
			m.Logger().Error("measuring failed", "error", err)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.took = time.Since(began)
	}()
	return nil
}

// waitUntilComplete returns when the engine knows all roles. It asks seldom, since each answer counts all roles.
func (m *measured) waitUntilComplete(ctx context.Context, storage logical.Storage) error {
	for {
		status, err := m.HandleRequest(ctx, &logical.Request{Operation: logical.ReadOperation, Path: "status", Storage: storage})
		if err != nil || status.Data["complete"] == true {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func listAndGet(ctx context.Context, storage logical.Storage) error {
	names, err := storage.List(ctx, "role/")
	if err != nil {
		return err
	}
	return spreadOver(16, len(names), func(i int) error { // the engine reads as many at a time
		_, err := storage.Get(ctx, "role/"+names[i])
		return err
	})
}

// HandleExistenceCheck allows writes to the additional paths.
func (m *measured) HandleExistenceCheck(ctx context.Context, req *logical.Request) (checkFound, exists bool, err error) {
	if strings.HasPrefix(req.Path, "measure/") {
		return true, true, nil
	}
	return m.Backend.HandleExistenceCheck(ctx, req)
}

func (m *measured) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	switch req.Path {
	case "measure/fill":
		return nil, fill(ctx, req.Storage, req.Data)
	case bareKey:
		if req.Operation == logical.DeleteOperation {
			return nil, req.Storage.Delete(ctx, bareKey)
		}
		return nil, req.Storage.Put(ctx, &logical.StorageEntry{Key: bareKey})
	case "measure/start":
		return m.start()
	case "measure/idle":
		return idle(), nil
	default:
		return m.Backend.HandleRequest(ctx, req)
	}
}

// fill copies the entry of a role, with a history, under other names.
func fill(ctx context.Context, storage logical.Storage, d map[string]any) error {
	entry, err := storage.Get(ctx, fmt.Sprintf("role/%v", d["model"]))
	if err != nil || entry == nil {
		return fmt.Errorf("reading the role to copy: %w", err)
	}
	var first, n int
	if _, err := fmt.Sscan(fmt.Sprint(d["first"], d["roles"]), &first, &n); err != nil {
		return err
	}
	return spreadOver(64, n, func(i int) error {
		return storage.Put(ctx, &logical.StorageEntry{Key: fmt.Sprintf("role/copy%d", first+i), Value: entry.Value})
	})
}

// spreadOver calls do with 0 to n-1 in a number of goroutines.
func spreadOver(workers, n int, do func(i int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, workers)
	for range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

// start returns how long the start took and what the waiting roles cost.
func (m *measured) start() (*logical.Response, error) {
	m.mu.Lock()
	took := m.took
	m.mu.Unlock()
	if took == 0 {
		return nil, logical.CodedError(503, "not all roles have been read yet")
	}
	now := inUse()
	return &logical.Response{Data: map[string]any{
		"took_us": took.Microseconds(), "heap": int64(now.heap) - int64(m.before.heap),
		"goroutines": now.goroutines - m.before.goroutines,
	}}, nil
}

// idle returns the CPU time that the process used in ten seconds without a request.
func idle() *logical.Response {
	const long = 10 * time.Second
	inUse()
	time.Sleep(2 * time.Second) // the garbage collector finishes in the background
	before := processor()
	time.Sleep(long)
	used := processor() - before
	return &logical.Response{Data: map[string]any{"processor_us_per_s": used.Microseconds() / int64(long/time.Second)}}
}
