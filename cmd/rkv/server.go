package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rkvdb/rkv/internal/node"
	"github.com/rkvdb/rkv/resp"
)

func serverCommand() *cli.Command {
	return &cli.Command{
		Name:  "server",
		Usage: "run one node; alone it is a cluster of one on 127.0.0.1:6379",
		Flags: withEnv(serverFlags()),
		Action: func(c *cli.Context) error {
			relaxTimers()
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			return runServer(cfg)
		},
	}
}

// shutdownTimeout bounds a graceful stop: handing over, finishing what is in flight.
const shutdownTimeout = 10 * time.Second

// moveTimeout bounds the wait for clients that can go to another node by themselves.
const moveTimeout = 2 * time.Second

// runServer runs a node until it is told to stop or cannot go on.
func runServer(cfg *serverConfig) error {
	log := newLogger(os.Stderr, cfg.logLevel, cfg.logFormat)
	tuneCollector()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	asked := make(chan struct{})
	ask := sync.OnceFunc(func() {
		close(asked)
		stop()
	})
	go func() {
		<-signals
		ask()
		<-signals
		os.Exit(exitAgain)
	}()

	// A port that is taken is better known before a data directory is begun.
	for _, addr := range []string{cfg.addr, cfg.node.PeerAddr, cfg.clusterAddr, cfg.sentinelAddr} {
		if addr == "" {
			continue
		}
		if err := portFree(addr); err != nil {
			return err
		}
	}
	cfg.node.Logger = log
	procs := newProcessors()
	cfg.node.LongWork, cfg.node.Idle = procs.begin, machineIdle
	opened := procs.begin()
	n, err := node.Open(ctx, cfg.node)
	opened()
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil // told to stop before the cluster was formed
		}
		return err
	}
	front, err := resp.New(respOptions(cfg, n, log, ask))
	if err == nil {
		err = serve(n, front, asked, log)
	}
	end, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- n.Close(end) }()
	select {
	case cerr := <-closed:
		return errors.Join(err, cerr)
	case <-time.After(2 * shutdownTimeout): // a disk that hangs holds its goroutine for ever
		return errors.Join(err, n.Err(), errors.New("stopping took too long; what was acknowledged is on disk"))
	}
}

// serve runs the front end until the node fails or somebody asks to stop; then it
// hands leadership over before clients are let go, so that they find a leader.
func serve(n *node.Node, front *resp.Server, asked <-chan struct{}, log *slog.Logger) error {
	front.Start()
	select {
	case <-asked:
		log.Info("stopping")
	case <-n.Failed():
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	led := n.HandOver(ctx)
	if n.Err() == nil {
		moving, cancel := context.WithTimeout(ctx, moveTimeout)
		defer cancel()
		front.MoveClients(moving, led)
	}
	return front.Close(ctx)
}

// portFree binds addr for a moment.
func portFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func respOptions(cfg *serverConfig, n *node.Node, log *slog.Logger, stop func()) resp.Options {
	o := resp.Options{
		Addr: cfg.addr, Backend: backend{n, cfg.node.Addresses, cfg.node.ClientAddr}, Logger: log, Version: version(),
		RequirePass: cfg.requirePass, MaxClients: cfg.maxClients, IdleTimeout: cfg.idleTimeout,
		DebugCommand: cfg.debugCommand, ACLFile: cfg.aclFile, Params: cfg.params, Shutdown: stop,
		LongWork: cfg.node.LongWork, NoIOUring: cfg.noIOUring,
		ClusterAddr: cfg.clusterAddr, ClusterProxy: cfg.clusterProxy,
		SentinelAddr: cfg.sentinelAddr, MasterName: cfg.masterName,
		Config: map[string]string{
			"dir":              cfg.node.DataDir,
			"appendonly":       "yes",
			"appendfsync":      map[bool]string{false: "always", true: "no"}[cfg.node.SyncNever],
			"databases":        strconv.Itoa(16),
			"save":             "",
			"election-timeout": cfg.node.ElectionTimeout.String(),
			"heartbeat":        cfg.node.Heartbeat.String(),
			"peer-addr":        cfg.node.PeerAddr,
		},
	}
	if cfg.configFile != "" {
		var mu sync.Mutex
		o.Rewrite = func(changed map[string]string) error {
			mu.Lock()
			defer mu.Unlock()
			return rewriteFile(cfg.configFile, changed)
		}
	}
	return o
}
