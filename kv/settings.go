package kv

import (
	"math"
	"strconv"
	"strings"
)

// Settings are the replicated settings: everything configurable that apply reads
// (DESIGN 4.3). They change only through the log (CONFIG SET), so that every node
// decides alike. Names, meanings and defaults are those of redis.conf.
type Settings struct {
	// A hash is packed up to so many fields, of at most so many bytes each.
	HashMaxListpackEntries int64
	HashMaxListpackValue   int64
	// A list's node size: positive counts elements, -1..-5 mean 4, 8, 16, 32, 64 KiB.
	// A list is packed while it fits one node.
	ListMaxListpackSize int64
	// A set of integers is an intset up to so many; another set is packed up to so
	// many members, of at most so many bytes each.
	SetMaxIntsetEntries   int64
	SetMaxListpackEntries int64
	SetMaxListpackValue   int64
	// A sorted set is packed up to so many members, of at most so many bytes each.
	ZSetMaxListpackEntries int64
	ZSetMaxListpackValue   int64
	// A HyperLogLog is sparse up to so many bytes.
	HLLSparseMaxBytes int64
	// A node of a stream is full at so many bytes, or entries; 0: no such limit.
	StreamNodeMaxBytes   int64
	StreamNodeMaxEntries int64
	// RedisVersion is the Redis whose forms replies have where versions differ: how
	// doubles are printed, what OBJECT ENCODING calls small lists and sets. Commands of
	// later versions work all the same.
	RedisVersion int64
	// ProtoMaxBulkLen bounds an argument and a string value, in bytes. Above the
	// default an entry could outgrow its 64 MiB.
	ProtoMaxBulkLen int64
	// A script ends with an error after so many instructions and so many bytes of
	// values made. Too few break long scripts; a script of a hundred million
	// instructions holds all nodes up for seconds.
	ScriptMaxSteps  int64
	ScriptMaxMemory int64
	// NotifyKeyspaceEvents are NotifyFlags. Every selected event costs every node that
	// has a subscriber for it.
	NotifyKeyspaceEvents int64
	// ACLPubsubDefault: new users may use all channels (1) or none (0).
	ACLPubsubDefault int64
	// ActiveExpire removes keys when they are due, also if nobody asks for them;
	// 0 is for tests (DEBUG SET-ACTIVE-EXPIRE).
	ActiveExpire int64
	// DebugInScripts lets scripts call DEBUG PROTOCOL; 1 is for tests (DEBUG
	// SET-DISABLE-DENY-SCRIPTS).
	DebugInScripts int64
	// MaxMemory is how many bytes of data and overhead a node may hold before keys are
	// evicted or writes refused; 0: no limit. MaxMemoryPolicy is an index into
	// EvictionPolicies; MaxMemorySamples how many keys are compared for each eviction.
	MaxMemory        int64
	MaxMemoryPolicy  int64
	MaxMemorySamples int64
}

// defaultSettings are those of a cluster at genesis.
func defaultSettings() Settings {
	return Settings{
		HashMaxListpackEntries: 128, HashMaxListpackValue: 64,
		ListMaxListpackSize: -2,
		SetMaxIntsetEntries: 512, SetMaxListpackEntries: 128, SetMaxListpackValue: 64,
		ZSetMaxListpackEntries: 128, ZSetMaxListpackValue: 64,
		HLLSparseMaxBytes:  3000,
		StreamNodeMaxBytes: 4096, StreamNodeMaxEntries: 100,
		RedisVersion:    redis70,
		ProtoMaxBulkLen: 32 << 20,
		ScriptMaxSteps:  50_000_000, ScriptMaxMemory: 256 << 20,
		ActiveExpire:    1,
		MaxMemoryPolicy: NoEviction, MaxMemorySamples: 5,
	}
}

// setting is one row: a name CONFIG knows, the field behind it and its limits.
type setting struct {
	name     string
	field    func(*Settings) *int64
	min, max int64
	memory   bool // accepts 32mb and the like
}

// maxThreshold bounds what is scanned where no number of bytes does (packedMaxBytes
// bounds packed hashes and sorted sets in any case).
const maxThreshold = 1 << 20

// settingRows is ordered by name.
var settingRows = []setting{
	{"acl-pubsub-default", func(s *Settings) *int64 { return &s.ACLPubsubDefault }, 0, 1, false},
	{"active-expire", func(s *Settings) *int64 { return &s.ActiveExpire }, 0, 1, false},
	{"debug-in-scripts", func(s *Settings) *int64 { return &s.DebugInScripts }, 0, 1, false},
	{"hash-max-listpack-entries", func(s *Settings) *int64 { return &s.HashMaxListpackEntries }, 0, math.MaxInt64, false},
	{"hash-max-listpack-value", func(s *Settings) *int64 { return &s.HashMaxListpackValue }, 0, math.MaxInt64, true},
	{"hash-max-ziplist-entries", func(s *Settings) *int64 { return &s.HashMaxListpackEntries }, 0, math.MaxInt64, false},
	{"hash-max-ziplist-value", func(s *Settings) *int64 { return &s.HashMaxListpackValue }, 0, math.MaxInt64, true},
	{"hll-sparse-max-bytes", func(s *Settings) *int64 { return &s.HLLSparseMaxBytes }, 0, 1 << 20, true},
	{"list-max-listpack-size", func(s *Settings) *int64 { return &s.ListMaxListpackSize }, -1 << 31, 1<<31 - 1, false},
	{"list-max-ziplist-size", func(s *Settings) *int64 { return &s.ListMaxListpackSize }, -1 << 31, 1<<31 - 1, false},
	{"maxmemory", func(s *Settings) *int64 { return &s.MaxMemory }, 0, math.MaxInt64, true},
	{"maxmemory-policy", func(s *Settings) *int64 { return &s.MaxMemoryPolicy }, 0, 7, false},
	{"maxmemory-samples", func(s *Settings) *int64 { return &s.MaxMemorySamples }, 1, 64, false},
	{"notify-keyspace-events", func(s *Settings) *int64 { return &s.NotifyKeyspaceEvents }, 0, math.MaxUint32, false},
	{"proto-max-bulk-len", func(s *Settings) *int64 { return &s.ProtoMaxBulkLen }, 1 << 20, 32 << 20, true},
	{"redis-version", func(s *Settings) *int64 { return &s.RedisVersion }, redis70, redis74, false},
	{"script-max-instructions", func(s *Settings) *int64 { return &s.ScriptMaxSteps }, 10_000, 1_000_000_000, false},
	{"script-max-memory", func(s *Settings) *int64 { return &s.ScriptMaxMemory }, 1 << 20, 256 << 20, true},
	{"set-max-intset-entries", func(s *Settings) *int64 { return &s.SetMaxIntsetEntries }, 0, maxThreshold, false},
	{"set-max-listpack-entries", func(s *Settings) *int64 { return &s.SetMaxListpackEntries }, 0, maxThreshold, false},
	{"set-max-listpack-value", func(s *Settings) *int64 { return &s.SetMaxListpackValue }, 0, maxThreshold, true},
	{"stream-node-max-bytes", func(s *Settings) *int64 { return &s.StreamNodeMaxBytes }, 0, math.MaxInt64, true},
	{"stream-node-max-entries", func(s *Settings) *int64 { return &s.StreamNodeMaxEntries }, 0, math.MaxInt64, false},
	{"zset-max-listpack-entries", func(s *Settings) *int64 { return &s.ZSetMaxListpackEntries }, 0, math.MaxInt64, false},
	{"zset-max-listpack-value", func(s *Settings) *int64 { return &s.ZSetMaxListpackValue }, 0, math.MaxInt64, true},
	{"zset-max-ziplist-entries", func(s *Settings) *int64 { return &s.ZSetMaxListpackEntries }, 0, math.MaxInt64, false},
	{"zset-max-ziplist-value", func(s *Settings) *int64 { return &s.ZSetMaxListpackValue }, 0, math.MaxInt64, true},
}

// settingWords are the values of settings that are words; a setting holds the place.
var settingWords = map[string][]string{
	"acl-pubsub-default": {"resetchannels", "allchannels"},
	"active-expire":      {"no", "yes"},
	"debug-in-scripts":   {"no", "yes"},
	"maxmemory-policy":   EvictionPolicies[:],
}

// EvictionPolicies are the values of maxmemory-policy; NoEviction is the last one's
// place.
var EvictionPolicies = [...]string{
	"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
	"allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction",
}

// NoEviction is the policy under which writes are refused when memory is short.
const NoEviction = 7

// newChannels reports whether new users may use all channels.
func (s *Settings) newChannels() bool { return s.ACLPubsubDefault == 1 }

func findSetting(name []byte) *setting {
	for i := range settingRows {
		if is(name, settingRows[i].name) {
			return &settingRows[i]
		}
	}
	return nil
}

// IsSetting reports whether name (any case) is a replicated setting, that CONFIG
// SET has to take through the log.
func IsSetting(name []byte) bool { return findSetting(name) != nil }

// Each calls fn for every setting in the order of names, with its value as CONFIG
// GET shows it.
func (s *Settings) Each(fn func(name, value string)) {
	for i := range settingRows {
		row := &settingRows[i]
		value := row.format(*row.field(s))
		if words := settingWords[row.name]; words != nil {
			value = words[*row.field(s)]
		}
		fn(row.name, value)
	}
}

// PasswordSetting stands for requirepass among the pairs of a logged CONFIG SET: its
// value is the hash of the default user's password, "" for none (PasswordValue).
const PasswordSetting = "requirepass"

// PasswordValue is what PasswordSetting holds for a password.
func PasswordValue(password string) []byte {
	if password == "" {
		return []byte{}
	}
	return []byte(HashPassword([]byte(password)))
}

// configSet is a logged CONFIG SET: all pairs count, or none.
func (s *Store) configSet(pairs [][]byte) (msg string) {
	next := s.st.Settings
	if msg := next.set(pairs); msg != "" {
		return msg
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if !is(pairs[i], PasswordSetting) {
			continue
		}
		rules := [][]byte{[]byte("resetpass"), []byte("nopass")}
		if len(pairs[i+1]) > 0 {
			rules = [][]byte{[]byte("resetpass"), append([]byte("#"), pairs[i+1]...)}
		}
		acl, msg := s.st.acl.setUser([]byte("default"), rules, false)
		if msg != "" {
			return msg
		}
		s.setACL(acl)
	}
	s.st.Settings = next
	return ""
}

// ValidateSettings checks name, value, name, value ... before they are proposed:
// the error is the reply, in Redis's words, "" if all is well. Apply checks the
// same again.
func ValidateSettings(pairs [][]byte) string {
	s := defaultSettings()
	return s.set(pairs)
}

// set changes all named settings, or none and returns an error reply.
func (s *Settings) set(pairs [][]byte) string {
	next := *s
	if len(pairs)%2 != 0 {
		return WrongArgs("config|set")
	}
	var seen []*setting
	for ; len(pairs) > 0; pairs = pairs[2:] {
		if is(pairs[0], PasswordSetting) {
			continue // Store.configSet
		}
		row := findSetting(pairs[0])
		if row == nil {
			return "ERR Unknown option or number of arguments for CONFIG SET - '" + clip(pairs[0], 128) + "'"
		}
		for _, other := range seen {
			if other == row {
				return configFailed(row.name, "duplicate parameter")
			}
		}
		seen = append(seen, row)
		v, ok := row.parse(pairs[1])
		switch words := settingWords[row.name]; {
		case !ok && row.isNotify():
			return configFailed(row.name, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
		case !ok && words != nil:
			return configFailed(row.name, "argument(s) must be one of the following: "+strings.Join(words, ", "))
		case !ok && row.isVersion():
			return configFailed(row.name, "argument must be one of 7.0, 7.2, 7.4")
		case !ok && row.memory:
			return configFailed(row.name, "argument must be a memory value")
		case !ok:
			return configFailed(row.name, "argument couldn't be parsed into an integer")
		case v < row.min || v > row.max:
			return configFailed(row.name, "argument must be between "+
				strconv.FormatInt(row.min, 10)+" and "+strconv.FormatInt(row.max, 10)+" inclusive")
		}
		*row.field(&next) = v
	}
	*s = next
	return ""
}

func configFailed(name, why string) string {
	return "ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + why
}

// isNotify: the value is not a number but letters.
func (r *setting) isNotify() bool { return r.name == "notify-keyspace-events" }

// Redis72 and Redis74 are the versions whose forms package resp has to know.
const (
	Redis72 = redis72
	Redis74 = redis74
)

// Versions of Redis that can be imitated (Settings.RedisVersion), as 100 * major + minor.
const (
	redis70 = 700
	redis72 = 702
	redis74 = 704
)

func (r *setting) isVersion() bool { return r.name == "redis-version" }

func parseVersion(b []byte) (int64, bool) {
	for _, v := range [...]int64{redis70, redis72, redis74} {
		if string(b) == formatVersion(v) {
			return v, true
		}
	}
	return 0, false
}

func formatVersion(v int64) string {
	return strconv.FormatInt(v/100, 10) + "." + strconv.FormatInt(v%100, 10)
}

func (r *setting) format(v int64) string {
	if r.isNotify() {
		return NotifyFlags(v).String()
	}
	if r.isVersion() {
		return formatVersion(v)
	}
	return strconv.FormatInt(v, 10)
}

func (r *setting) parse(b []byte) (int64, bool) {
	if r.isVersion() {
		return parseVersion(b)
	}
	if r.isNotify() {
		f, ok := parseNotify(b)
		return int64(f), ok
	}
	if words := settingWords[r.name]; words != nil {
		for i, w := range words {
			if is(b, w) {
				return int64(i), true
			}
		}
		return 0, false
	}
	if r.memory {
		return ParseMemory(b)
	}
	return parseInt(b)
}

// ParseMemory reads a number of bytes as redis.conf does: 1k is 1000, 1kb is 1024,
// also m, mb, g, gb, b, in any case.
func ParseMemory(b []byte) (int64, bool) {
	digits := 0
	for digits < len(b) && b[digits]-'0' <= 9 {
		digits++
	}
	u, ok := parseUint(b[:digits])
	if !ok {
		return 0, false
	}
	for _, unit := range memoryUnits {
		if is(b[digits:], unit.suffix) && u <= uint64(1<<63-1)/unit.bytes {
			return int64(u * unit.bytes), true
		}
	}
	return 0, false
}

var memoryUnits = [...]struct {
	suffix string
	bytes  uint64
}{
	{"", 1}, {"b", 1}, {"k", 1000}, {"kb", 1 << 10}, {"m", 1e6}, {"mb", 1 << 20}, {"g", 1e9}, {"gb", 1 << 30},
}

// clip shortens text of a client for an error reply.
func clip(b []byte, n int) string {
	if len(b) > n {
		b = b[:n]
	}
	return string(b)
}
