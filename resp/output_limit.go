package resp

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/rkvdb/rkv/kv"
)

// outputClass is a class of client-output-buffer-limit.
type outputClass uint8

const (
	outputNormal outputClass = iota
	outputReplica
	outputPubsub
	outputClasses
)

// outputLimit closes a client at hard bytes of unsent output, or when more than soft
// bytes have waited for softSeconds. 0 is no limit, but that of Options.
type outputLimit struct {
	hard, soft  int64
	softSeconds int64
}

// outputLimits is the setting client-output-buffer-limit.
type outputLimits [outputClasses]outputLimit

func defaultOutputLimits() *outputLimits {
	return &outputLimits{
		outputReplica: {256 << 20, 64 << 20, 60},
		outputPubsub:  {32 << 20, 8 << 20, 60},
	}
}

var outputClassNames = [outputClasses]string{"normal", "slave", "pubsub"}

func (o *outputLimits) String() string {
	parts := make([]string, 0, outputClasses)
	for i, l := range o {
		parts = append(parts, fmt.Sprintf("%s %d %d %d", outputClassNames[i], l.hard, l.soft, l.softSeconds))
	}
	return strings.Join(parts, " ")
}

// parse returns a copy of o with the classes that text names: class hard soft seconds,
// repeated.
func (o *outputLimits) parse(text string) (*outputLimits, error) {
	words := strings.Fields(text)
	if len(words) == 0 || len(words)%4 != 0 {
		return nil, errors.New("Wrong number of arguments in buffer limit configuration.") //nolint:staticcheck // Redis's words
	}
	next := *o
	for ; len(words) > 0; words = words[4:] {
		class, ok := findOutputClass(words[0])
		if !ok {
			return nil, errors.New("Invalid client class specified in buffer limit configuration.") //nolint:staticcheck // Redis's words
		}
		hard, ok1 := kv.ParseMemory([]byte(words[1]))
		soft, ok2 := kv.ParseMemory([]byte(words[2]))
		seconds, ok3 := parseLen([]byte(words[3]))
		if !ok1 || !ok2 || !ok3 || seconds < 0 {
			return nil, errors.New("Error in hard, soft or soft_seconds setting in buffer limit configuration.") //nolint:staticcheck // Redis's words
		}
		next[class] = outputLimit{hard, soft, seconds}
	}
	return &next, nil
}

func findOutputClass(name string) (outputClass, bool) {
	if strings.EqualFold(name, "replica") {
		return outputReplica, true
	}
	for i, n := range outputClassNames {
		if strings.EqualFold(name, n) {
			return outputClass(i), true
		}
	}
	return 0, false
}

// liveOutputLimits is the setting as CONFIG SET changes it.
type liveOutputLimits struct{ p atomic.Pointer[outputLimits] }

func (l *liveOutputLimits) get() *outputLimits {
	if o := l.p.Load(); o != nil {
		return o
	}
	return defaultOutputLimits()
}

func checkOutputLimits(v string) error {
	_, err := defaultOutputLimits().parse(v)
	return err
}

func (l *liveOutputLimits) set(v string) {
	if next, err := l.get().parse(v); err == nil {
		l.p.Store(next)
	}
}

// outputLimit is the connection's, by its class.
func (c *conn) limits() outputLimit {
	class := outputNormal
	if c.s.subscribed() {
		class = outputPubsub
	}
	if c.s.replica != nil {
		class = outputReplica
	}
	return c.s.srv.live.output.get()[class]
}

// hardLimit is at how many unsent bytes the connection is closed.
func (c *conn) hardLimit() int {
	if !c.s.authed {
		return unauthOutput
	}
	if l := c.limits(); l.hard > 0 {
		return int(l.hard)
	}
	return c.s.srv.opt.OutputHardLimit
}

// overSoftLimit reports that too much has waited for too long; it is asked every tick.
func (c *conn) overSoftLimit() bool {
	if c.s.unsent() == 0 {
		c.softSince = 0
		return false
	}
	l := c.limits()
	switch {
	case l.soft == 0 || int64(c.s.unsent()) <= l.soft:
		c.softSince = 0
		return false
	case c.softSince == 0:
		c.softSince = c.loop.mono
		return false
	}
	return c.loop.mono-c.softSince >= l.softSeconds*1000
}
