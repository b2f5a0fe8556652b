package terraform

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/mod/sumdb/dirhash"
)

// ProviderCache is a directory of provider packages that any number of data directories, processes and users of one
// group may share. It replaces Terraform's TF_PLUGIN_CACHE_DIR, into which parallel inits write while others run what
// lies there.
//
// An entry is named by its content: HOST/NAMESPACE/TYPE/VERSION/PLATFORM/HASH, where HASH is Terraform's own h1 hash of
// the package, in hexadecimal. It appears by one rename and never changes. Before an init, providers that the lock file
// names by an h1 hash in the cache are linked into the data directory; Terraform verifies the hash and takes them as
// installed. After an init, what Terraform has unpacked is moved into the cache and replaced by a link, provided that
// the lock file vouches for it. Links are never left where Terraform might unpack something through them.
//
// A provider that Terraform itself links, from an unpacked filesystem mirror, stays as it is.
type ProviderCache struct {
	dir   string
	twins twins
}

// OpenProviderCache opens a cache, and makes the directory when it is missing.
func OpenProviderCache(dir string) (*ProviderCache, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open provider cache: %w", err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, fmt.Errorf("open provider cache: %w", err)
	}
	// Links are compared with it.
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("open provider cache: %w", err)
	}
	return &ProviderCache{dir: abs}, nil
}

// Names within an entry.
const (
	packageName = "package"
	sealName    = "seal.json"
)

// entry returns the directory of the entry with one of l's hashes of the form h1:BASE64; "" for other hashes.
func (c *ProviderCache) entry(l locked, hash string) string {
	b64, ok := strings.CutPrefix(hash, "h1:")
	if !ok {
		return ""
	}
	sum, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(sum) != 32 {
		return ""
	}
	return filepath.Join(c.dir, filepath.FromSlash(l.source), l.version, platform(), hex.EncodeToString(sum))
}

// seed links what the lock file of a root module names and the cache has into a data directory, and removes links into
// the cache that the lock file does not name: Terraform would unpack another package through them. With thorough, the
// bytes of entries are verified, not only that nobody has touched them.
func (c *ProviderCache) seed(rootDir, dataDir string, thorough bool) error {
	locks, err := readLockFile(rootDir)
	if err != nil {
		// Terraform says it better, with the line. Without a lock file nothing is linked.
		locks = nil
	}
	wanted := map[string]string{}
	for _, l := range locks {
		for _, h := range l.hashes {
			entry := c.entry(l, h)
			if entry == "" {
				continue
			}
			ok, err := c.verify(entry, h, thorough)
			if err != nil {
				return err
			}
			if ok {
				wanted[filepath.Join(dataDir, l.packageDir())] = filepath.Join(entry, packageName)
				break
			}
		}
	}
	links, _ := filepath.Glob(filepath.Join(dataDir, "providers", "*", "*", "*", "*", platform()))
	for _, path := range links {
		target, err := os.Readlink(path)
		if err != nil {
			// A package that was unpacked here. Terraform verifies it; it is harvested later.
			delete(wanted, path)
			continue
		}
		if target == wanted[path] {
			delete(wanted, path)
			continue
		}
		_, wants := wanted[path]
		if wants || c.holds(target) || !exists(target) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("unlink provider: %w", err)
			}
		}
	}
	for path, target := range wanted {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("link provider from cache: %w", err)
		}
		if err := os.Symlink(target, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link provider from cache: %w", err)
		}
	}
	return nil
}

func (c *ProviderCache) holds(target string) bool {
	return strings.HasPrefix(target, c.dir+string(filepath.Separator))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// harvest moves the packages that init has unpacked into the cache, and puts links in their place. The lock file, which
// init has just brought up to date, says what they must hash to; what it does not vouch for stays where it is.
func (c *ProviderCache) harvest(rootDir, dataDir string) error {
	locks, err := readLockFile(rootDir)
	if err != nil {
		return err
	}
	for _, l := range locks {
		path := filepath.Join(dataDir, l.packageDir())
		source := path
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil || !strings.HasPrefix(target, filepath.Join(dataDir, pluginCacheName)+string(filepath.Separator)) {
				continue
			}
			source = target // In the private stand-in for a configured plugin_cache_dir.
			if info, err = os.Lstat(source); err != nil {
				continue
			}
		}
		if !info.IsDir() {
			continue
		}
		hash, err := dirhash.HashDir(source, "", dirhash.Hash1)
		if err != nil {
			return fmt.Errorf("hash provider %s %s: %w", l.source, l.version, err)
		}
		if !slices.Contains(l.hashes, hash) {
			continue
		}
		target, err := c.adopt(c.entry(l, hash), hash, source)
		if err != nil {
			return fmt.Errorf("keep provider %s %s: %w", l.source, l.version, err)
		}
		// What is left of it when the cache had it already.
		if err := errors.Join(os.RemoveAll(path), os.RemoveAll(source)); err != nil {
			return fmt.Errorf("keep provider %s %s: %w", l.source, l.version, err)
		}
		if err := os.Symlink(target, path); err != nil {
			return fmt.Errorf("keep provider %s %s: %w", l.source, l.version, err)
		}
	}
	return nil
}

// adopt makes the directory source the entry of that hash, unless there is one already, and returns the package in it.
func (c *ProviderCache) adopt(entry, hash, source string) (string, error) {
	target := filepath.Join(entry, packageName)
	if ok, err := c.verify(entry, hash, false); err != nil || ok {
		return target, err
	}
	if err := os.MkdirAll(filepath.Dir(entry), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(entry), ".new-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	inside := filepath.Join(tmp, packageName)
	err = os.Rename(source, inside)
	if errors.Is(err, syscall.EXDEV) {
		err = os.CopyFS(inside, os.DirFS(source))
	}
	if err != nil {
		return "", err
	}
	if err := openToAll(inside); err != nil {
		return "", err
	}
	if err := writeSeal(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, entry); err != nil {
		// Somebody else was quicker with the same package.
		if ok, verifyErr := c.verify(entry, hash, false); verifyErr == nil && ok {
			return target, nil
		}
		return "", err
	}
	return target, nil
}

// openToAll lets other users of a shared cache read a package. Terraform's archives often forbid it.
func openToAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if info.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

// seal is what the files of an entry looked like when its bytes were last verified. Nobody can write to a file without
// its change time telling, so comparing is as good as hashing, and as cheap for a package of 700 MB as for a small one.
type seal map[string]sealedFile

type sealedFile struct {
	Size    int64  `json:"size"`
	Inode   uint64 `json:"inode"`
	Changed int64  `json:"changed"` // change time in nanoseconds
	Written int64  `json:"written"` // modification time in nanoseconds
}

func readSeal(entry string) (seal, error) {
	data, err := os.ReadFile(filepath.Join(entry, sealName))
	if err != nil {
		return nil, err
	}
	var s seal
	return s, json.Unmarshal(data, &s)
}

func writeSeal(entry string) error {
	s, err := sealOf(entry)
	if err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(entry, sealName), data, 0o644)
}

func sealOf(entry string) (seal, error) {
	s := seal{}
	root := filepath.Join(entry, packageName)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := sealedFile{Size: info.Size(), Written: info.ModTime().UnixNano()}
		f.Inode, f.Changed = inodeAndChange(info)
		s[rel] = f
		return nil
	})
	return s, err
}

// verify reports whether an entry is there and whole. One that was touched, or all of them with thorough, is hashed. A
// damaged one is removed: data directories that link to it notice and run init again.
func (c *ProviderCache) verify(entry, hash string, thorough bool) (bool, error) {
	if !exists(entry) {
		return false, nil
	}
	now, err := sealOf(entry)
	if err == nil && !thorough {
		if was, readErr := readSeal(entry); readErr == nil && equalSeals(was, now) {
			return true, nil
		}
	}
	if err == nil {
		var got string
		if got, err = dirhash.HashDir(filepath.Join(entry, packageName), "", dirhash.Hash1); err == nil && got == hash {
			// A seal that cannot be renewed, in a cache that is not ours to write, only costs the hashing again.
			_ = writeSeal(entry)
			return true, nil
		}
	}
	// Out of the way by one rename first, so that nobody finds half of it.
	tmp, err := os.MkdirTemp(filepath.Dir(entry), ".damaged-*")
	if err != nil {
		return false, fmt.Errorf("remove damaged provider %q: %w", entry, err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Rename(entry, filepath.Join(tmp, "entry")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("remove damaged provider %q: %w", entry, err)
	}
	return false, nil
}

func equalSeals(a, b seal) bool {
	if len(a) != len(b) {
		return false
	}
	for name, f := range a {
		if b[name] != f {
			return false
		}
	}
	return true
}
