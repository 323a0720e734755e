// An S3 server for tests: over TLS, with one bucket and one key, what it keeps in memory. What stands on its standard input,
// a word a line, becomes of the requests from then on, and is said again once it is so:
//
//	serve  they are answered
//	gone   nobody listens any more, and connections that are open end
//	fail   they are answered with 503
//	slow   they are answered after a fifth of a second each
//	refuse they are answered with 403, as those of a key that is none any more
//
// It ends with its standard input.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

// slowness is how long each request takes where all is slow.
const slowness = 200 * time.Millisecond

// mood is what becomes of a request: the word that was said last.
type mood struct{ word atomic.Value }

// in answers as the mood is, with what next answers where it is good.
func (m *mood) in(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch m.word.Load() {
		case "fail":
			http.Error(w, "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>", http.StatusServiceUnavailable)
			return
		case "refuse":
			http.Error(w, "<Error><Code>InvalidAccessKeyId</Code><Message>The key is not known.</Message></Error>", http.StatusForbidden)
			return
		case "slow":
			time.Sleep(slowness)
		}
		next.ServeHTTP(w, r)
	})
}

// server listens at one address, more than once in turn.
type server struct {
	address string
	config  *tls.Config
	handler http.Handler
	running *http.Server
}

func (s *server) begin() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.running = &http.Server{Handler: s.handler, ErrorLog: log.New(io.Discard, "", 0)}
	go s.running.Serve(tls.NewListener(listener, s.config))
	return nil
}

func (s *server) end() {
	if s.running != nil {
		s.running.Close()
		s.running = nil
	}
}

// obey does what a line says.
func (s *server) obey(m *mood, line string) error {
	word := strings.TrimSpace(line)
	switch word {
	case "gone":
		s.end()
		return nil
	case "serve", "fail", "slow", "refuse":
	default:
		return fmt.Errorf("%q is nothing to do", word)
	}
	m.word.Store(word)
	if s.running == nil {
		return s.begin()
	}
	return nil
}

func run() error {
	address := flag.String("address", "127.0.0.1:0", "where it listens")
	certificate := flag.String("certificate", "", "file of its certificate")
	key := flag.String("key", "", "file of the key of that")
	bucket := flag.String("bucket", "backups", "name of its bucket")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		return err
	}
	store := s3mem.New()
	if err := store.CreateBucket(context.Background(), *bucket); err != nil {
		return err
	}
	// Not arguments: those can be read by everybody.
	keys := map[string]string{os.Getenv("S3_KEY"): os.Getenv("S3_KEY_SECRET")}
	faker := gofakes3.New(store, gofakes3.WithV4Auth(keys), gofakes3.WithLogger(gofakes3.DiscardLog()))
	m := &mood{}
	s := &server{
		address: *address,
		config:  &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}},
		handler: m.in(faker.Server()),
	}
	if err := s.begin(); err != nil {
		return err
	}
	fmt.Println(s.address)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := s.obey(m, lines.Text()); err != nil {
			return err
		}
		fmt.Println(lines.Text())
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
