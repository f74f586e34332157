package kv

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"sort"
	"strings"
	"sync"
)

// ACL is the users of the cluster and what they may do: replicated state, changed by
// ACL SETUSER, DELUSER and LOAD through the log (docs/adr/0012). A value never
// changes once others can see it; a change makes a new one, so sessions keep a
// pointer and notice by comparing it.
type ACL struct {
	users  []*User // by name
	nextID uint64
	byID   map[uint64]*User
	// openDefault: the default user may do everything, the common case.
	openDefault bool
	// wire is rows, once somebody asked.
	wire     []aclRow
	wireOnce sync.Once
}

// index completes an ACL after its users are set.
func (a *ACL) index() *ACL {
	a.byID = make(map[uint64]*User, len(a.users))
	for _, u := range a.users {
		a.byID[u.ID] = u
	}
	d := a.byID[DefaultUser]
	a.openDefault = d != nil && d.Unlimited()
	return a
}

// noUser stands for a user who was removed.
var noUser *User

// DefaultUser is the id of the user that connections begin as. It cannot be removed.
const DefaultUser uint64 = 0

// User is one user. It never changes once it is part of an ACL.
type User struct {
	// ID tells a user from a later one of the same name.
	ID   uint64
	Name string
	// Changed: something was set since the cluster was formed. Until then the default
	// user's password is what each node was started with.
	Changed bool

	enabled  bool
	nopass   bool
	skipSane bool // skip-sanitize-payload
	saneSet  bool // sanitize-payload was said: both are only shown
	// passwords are SHA-256 sums in hex, as they are shown and stored.
	passwords []string
	// selectors are what the user may do; the first is the root, any one suffices.
	selectors []*selector
}

// selector is one set of permissions.
type selector struct {
	allCommands, allKeys, allChannels bool
	// future: commands that a later version brings are allowed, too.
	future   bool
	commands bitmap // by Command.id
	// firstArgs allows a command only with one of these first arguments.
	firstArgs map[int][]string
	keys      []keyPattern
	channels  []string
}

// keyPattern allows keys that match for reading, writing or both.
type keyPattern struct {
	pattern     string
	read, write bool
}

type bitmap []uint64

func (b bitmap) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) set(i int, on bool) {
	if on {
		b[i/64] |= 1 << (i % 64)
	} else {
		b[i/64] &^= 1 << (i % 64)
	}
}

// newACL is the users of a new cluster: a default user who may do everything.
func newACL() *ACL {
	u := newUser("default", DefaultUser, false)
	for _, rule := range []string{"on", "nopass", "~*", "&*", "+@all"} {
		_ = u.apply(rule, false)
	}
	u.Changed = false
	return (&ACL{users: []*User{u}, nextID: 1}).index()
}

func newSelector(allChannels bool) *selector {
	return &selector{commands: make(bitmap, len(commands.flat)/64+1), allChannels: allChannels}
}

// newUser may do nothing; channels says whether new users may use all channels.
func newUser(name string, id uint64, channels bool) *User {
	return &User{ID: id, Name: name, selectors: []*selector{newSelector(channels)}}
}

func (s *selector) clone() *selector {
	c := *s
	c.commands, c.keys, c.channels = slices.Clone(s.commands), slices.Clone(s.keys), slices.Clone(s.channels)
	c.firstArgs = nil
	for id, list := range s.firstArgs {
		c.allowFirstArg(id, list...)
	}
	return &c
}

func (u *User) clone() *User {
	c := *u
	c.passwords = slices.Clone(u.passwords)
	c.selectors = make([]*selector, len(u.selectors))
	for i, s := range u.selectors {
		c.selectors[i] = s.clone()
	}
	return &c
}

// User finds a user by name; nil if there is none.
func (a *ACL) User(name []byte) *User {
	i, ok := a.find(string(name))
	if !ok {
		return nil
	}
	return a.users[i]
}

// UserByID finds a user by id; nil if it was removed.
func (a *ACL) UserByID(id uint64) *User { return a.byID[id] }

// Default is the default user.
func (a *ACL) Default() *User { return a.UserByID(DefaultUser) }

// Users are all users by name; they must not be changed.
func (a *ACL) Users() []*User { return a.users }

func (a *ACL) find(name string) (int, bool) {
	return sort.Find(len(a.users), func(i int) int { return strings.Compare(name, a.users[i].Name) })
}

// with is the ACL with u in the place of the user of its name.
func (a *ACL) with(u *User) *ACL {
	users := slices.Clone(a.users)
	if i, ok := a.find(u.Name); ok {
		users[i] = u
	} else {
		users = slices.Insert(users, i, u)
	}
	return (&ACL{users: users, nextID: max(a.nextID, u.ID+1)}).index()
}

func (a *ACL) without(name string) *ACL {
	i, ok := a.find(name)
	if !ok {
		return a
	}
	return (&ACL{users: slices.Delete(slices.Clone(a.users), i, i+1), nextID: a.nextID}).index()
}

// Enabled reports whether the user may log in.
func (u *User) Enabled() bool { return u.enabled }

// NoPass reports whether any password logs the user in.
func (u *User) NoPass() bool { return u.nopass }

// Unlimited reports whether nothing is denied to the user, so that no check is due.
func (u *User) Unlimited() bool {
	s := u.selectors[0]
	return s.allCommands && s.allKeys && s.allChannels
}

// PasswordOK reports whether the password is one of the user's. Its time depends on
// how many there are, not on what they are.
func (u *User) PasswordOK(password []byte) bool {
	if u.nopass {
		return true
	}
	sum := HashPassword(password)
	ok := 0
	for _, p := range u.passwords {
		ok |= subtle.ConstantTimeCompare([]byte(p), []byte(sum))
	}
	return ok == 1
}

// HashPassword is the form in which passwords are kept: the SHA-256 in hex.
func HashPassword(password []byte) string {
	sum := sha256.Sum256(password)
	return hex.EncodeToString(sum[:])
}

// aclRow is a user in a snapshot.
type aclRow struct {
	ID      uint64
	Name    string
	Rules   string
	Changed bool
}

// rows are the users by name; not to be changed.
func (a *ACL) rows() []aclRow {
	a.wireOnce.Do(func() {
		a.wire = make([]aclRow, len(a.users))
		for i, u := range a.users {
			a.wire[i] = aclRow{u.ID, u.Name, u.rules(true), u.Changed}
		}
	})
	return a.wire
}

// aclFromRows rebuilds the users of a snapshot. One without any is from before there
// were users.
func aclFromRows(rows []aclRow, nextID uint64) (*ACL, bool) {
	if len(rows) == 0 {
		return newACL(), true
	}
	a := &ACL{nextID: nextID}
	for _, r := range rows {
		u := newUser(r.Name, r.ID, false)
		if msg := u.applyAll(splitRules(r.Rules)); msg != "" || a.User([]byte(r.Name)) != nil {
			return nil, false
		}
		u.Changed = r.Changed
		a = a.with(u)
	}
	a.nextID = max(a.nextID, nextID)
	return a, a.Default() != nil
}

func splitRules(text string) [][]byte {
	var rules [][]byte
	for _, f := range strings.Fields(text) {
		rules = append(rules, []byte(f))
	}
	return rules
}

// ACL is the users as of the last applied entry. It takes no lock; the value never
// changes.
func (s *Store) ACL() *ACL { return s.acl.Load() }

// setACL makes a the users; the caller holds the lock.
func (s *Store) setACL(a *ACL) {
	s.st.acl = a
	s.acl.Store(a)
}
