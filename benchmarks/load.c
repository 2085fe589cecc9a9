/*
 * A load generator that costs next to nothing and believes nothing: one thread, epoll, every answer checked.
 *
 *     cc -O2 -o load load.c
 *     ./load closed  --port P --request FILE --connections 32 --seconds 3      each connection calls again at once
 *     ./load open    --port P --request FILE --rate 50 --seconds 3             a call every 20 ms, whatever happens
 *     ./load streams --port P --request FILE --connections 40 --seconds 3 --chunks 100 [--stagger-us 20000]
 *
 * FILE holds the request as bytes, head and body. `@` and 16 digits in it become a serial number, new for each call.
 * Plain answers are right when they are the bytes of --reference FILE, the 16 digits after each `@` apart, or, for a
 * proxy that writes the JSON anew, when they hold the text given as --mark. A stream is right when it has --chunks
 * times `@` and 16 digits, and ends with [DONE]. The digits are the clock at which the chunk left the upstream.
 *
 * --calls N ends a run after that many. SIGTERM ends it at once: calls in flight are given up, their clients vanish.
 * Prints one JSON object. In `open`, latency counts from the moment the call was due, so a slow answer that holds up
 * the next calls is charged for each of them. What is in flight when the time is over is waited for, up to 60 s.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 8192
#define IN_SIZE 65536
#define BODY_SIZE 65536
#define SECOND 1000000000u
#define GRACE (60ull * SECOND)

enum framing { HEAD, SIZED, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, TO_THE_END };

struct connection {
    int fd, is_busy, is_fresh; /* fresh: no answer has come over it yet */
    uint64_t due, sent_at, first_at;
    char *request;
    size_t request_sent;
    enum framing framing;
    char in[IN_SIZE];
    size_t in_length;
    size_t left; /* of the sized body or the current chunk */
    int status, closes, got_bytes;
    char body[BODY_SIZE];
    size_t body_length;
    int digits; /* -1: looking for '@'; else how many digits of a mark have come */
    uint64_t mark;
    long marks;
    char tail[64];
    size_t tail_length;
};

struct samples {
    float *values; /* microseconds */
    size_t length, size;
};

static struct connection *connections[MAX_CONNECTIONS];
static int connection_count;
static const char *mode;
static int port;
static char *request, *reference;
static size_t request_length, reference_length;
static const char *wanted_mark;
static long wanted_chunks, wanted_connections = 32;
static double seconds = 3, rate;
static long stagger_us;
static uint64_t serial, started, deadline;
static unsigned long begun_calls, most_calls = -1ul;
static volatile sig_atomic_t is_told_to_stop;
static struct samples latencies, firsts, delays;
static unsigned long calls, calls_in_time, chunks, errors, reconnects, in_flight;
static char first_error[512];
static uint64_t *waiting; /* due times of calls that found no idle connection */
static size_t waiting_first, waiting_end;
static int poller;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void keep(struct samples *s, double value) {
    if (s->length == s->size) {
        s->size = s->size ? s->size * 2 : 65536;
        s->values = realloc(s->values, s->size * sizeof *s->values);
        if (!s->values) die("realloc");
    }
    s->values[s->length++] = (float)value;
}

static void wrong(struct connection *c, const char *what) {
    if (!errors++)
        snprintf(first_error, sizeof first_error, "%s; status %d, %zu body bytes, %ld chunks", what, c->status,
                 c->body_length, c->marks);
}

/* ---- sending ---- */

static void open_socket(struct connection *c) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    c->is_fresh = 1;
}

static struct connection *new_connection(void) {
    struct connection *c = calloc(1, sizeof *c);
    if (!c || connection_count == MAX_CONNECTIONS) die("too many connections");
    c->request = malloc(request_length);
    memcpy(c->request, request, request_length);
    connections[connection_count++] = c;
    open_socket(c);
    return c;
}

static void send_request(struct connection *c) {
    /* A request is a few KB at most: a loopback socket takes it at once. */
    size_t sent = 0;
    while (sent < request_length) {
        ssize_t n = send(c->fd, c->request + sent, request_length - sent, MSG_NOSIGNAL);
        if (n < 0) break; /* the answer, or its absence, will tell */
        sent += (size_t)n;
    }
}

static void call(struct connection *c, uint64_t due) {
    for (char *at = c->request; (at = memchr(at, '@', request_length - (size_t)(at - c->request))); at += 17) {
        char digits[17];
        snprintf(digits, sizeof digits, "%016lx", ++serial);
        memcpy(at + 1, digits, 16);
    }
    c->is_busy = 1;
    begun_calls++;
    in_flight++;
    c->due = due;
    c->sent_at = now_ns();
    c->first_at = 0;
    c->framing = HEAD;
    c->in_length = c->body_length = c->tail_length = 0;
    c->status = c->closes = c->got_bytes = 0;
    c->digits = -1;
    c->marks = 0;
    send_request(c);
}

static void next_call(struct connection *c) {
    uint64_t now = now_ns();
    if (begun_calls >= most_calls || is_told_to_stop) return;
    if (now >= deadline && waiting_first == waiting_end) return;
    if (rate == 0) call(c, now);
    else if (waiting_first < waiting_end) call(c, waiting[waiting_first++]);
}

/* ---- judging ---- */

static int is_reference(const struct connection *c) {
    if (c->body_length != reference_length) return 0;
    for (size_t at = 0; at < reference_length;) {
        const char *mark = memchr(reference + at, '@', reference_length - at);
        size_t end = mark ? (size_t)(mark - reference) + 1 : reference_length;
        if (memcmp(reference + at, c->body + at, end - at)) return 0;
        at = mark ? end + 16 : end;
    }
    return 1;
}

static void judge(struct connection *c) {
    if (c->status != 200) wrong(c, "a status other than 200");
    else if (wanted_chunks && c->marks != wanted_chunks) wrong(c, "not the chunks that were wanted");
    else if (wanted_chunks && !memmem(c->tail, c->tail_length, "[DONE]", 6)) wrong(c, "no [DONE] at the end");
    else if (reference && !is_reference(c)) wrong(c, "a body that differs from the reference");
    else if (wanted_mark && !memmem(c->body, c->body_length, wanted_mark, strlen(wanted_mark)))
        wrong(c, "a body without the mark");
}

static void reopen(struct connection *c) {
    close(c->fd);
    reconnects++;
    open_socket(c);
}

static void answered(struct connection *c) {
    uint64_t now = now_ns();
    judge(c);
    calls++;
    in_flight--;
    c->is_busy = 0;
    c->is_fresh = 0;
    if (now <= deadline) calls_in_time++;
    keep(&latencies, (double)(now - c->due) / 1e3);
    if (c->first_at) keep(&firsts, (double)(c->first_at - c->sent_at) / 1e3);
    if (c->closes) reopen(c);
    next_call(c);
}

/* ---- receiving ---- */

static void count_marks(struct connection *c, const char *data, size_t length) {
    for (const char *at = data, *end = data + length; at < end;) {
        if (c->digits < 0) {
            at = memchr(at, '@', (size_t)(end - at));
            if (!at) return;
            at++;
            c->digits = 0;
            c->mark = 0;
            continue;
        }
        char d = *at++;
        int value = d >= '0' && d <= '9' ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : -1;
        if (value < 0) {
            c->digits = -1;
            continue;
        }
        c->mark = c->mark << 4 | (unsigned)value;
        if (++c->digits < 16) continue;
        c->digits = -1;
        uint64_t now = now_ns();
        if (!c->marks++) c->first_at = now;
        chunks++;
        if (now > c->mark) keep(&delays, (double)(now - c->mark) / 1e3);
    }
}

static void take_body(struct connection *c, const char *data, size_t length) {
    if (wanted_chunks) {
        count_marks(c, data, length);
        size_t kept = length < sizeof c->tail ? length : sizeof c->tail;
        size_t old = c->tail_length + kept > sizeof c->tail ? sizeof c->tail - kept : c->tail_length;
        memmove(c->tail, c->tail + c->tail_length - old, old);
        memcpy(c->tail + old, data + length - kept, kept);
        c->tail_length = old + kept;
        return;
    }
    if (c->body_length + length > BODY_SIZE) length = BODY_SIZE - c->body_length;
    memcpy(c->body + c->body_length, data, length);
    c->body_length += length;
}

/* Reads the head that ends at `end`; sets how the body is framed. */
static void take_head(struct connection *c, char *end) {
    end[2] = 0; /* the last field keeps its CRLF */
    c->status = (int)strtol(c->in + 9, NULL, 10);
    const char *sized = strcasestr(c->in, "\r\ncontent-length:");
    c->closes = strcasestr(c->in, "\r\nconnection: close") != NULL;
    if (strcasestr(c->in, "\r\ntransfer-encoding: chunked")) c->framing = CHUNK_SIZE;
    else if (sized) c->framing = SIZED, c->left = strtoul(sized + 17, NULL, 10);
    else c->framing = TO_THE_END, c->closes = 1;
}

/* Takes one step through what has come. Returns the bytes used, 0 when more must come first; *is_whole at the end. */
static size_t step(struct connection *c, char *at, size_t length, int *is_whole) {
    char *end;
    size_t used;
    switch (c->framing) {
    case HEAD:
        if (!(end = memmem(at, length, "\r\n\r\n", 4))) return 0;
        take_head(c, end);
        *is_whole = c->framing == SIZED && !c->left;
        return (size_t)(end - at) + 4;
    case CHUNK_SIZE:
        if (!(end = memmem(at, length, "\r\n", 2))) return 0;
        c->left = strtoul(at, NULL, 16);
        c->framing = c->left ? CHUNK_DATA : TRAILER;
        return (size_t)(end - at) + 2;
    case CHUNK_END:
        if (length < 2) return 0;
        c->framing = CHUNK_SIZE;
        return 2;
    case TRAILER:
        if (!(end = memmem(at, length, "\r\n", 2))) return 0;
        *is_whole = end == at;
        return (size_t)(end - at) + 2;
    case TO_THE_END:
        take_body(c, at, length);
        return length;
    default: /* SIZED, CHUNK_DATA */
        used = length < c->left ? length : c->left;
        take_body(c, at, used);
        c->left -= used;
        if (!c->left) {
            *is_whole = c->framing == SIZED;
            if (c->framing == CHUNK_DATA) c->framing = CHUNK_END;
        }
        return used;
    }
}

static void hung_up(struct connection *c) {
    if (c->is_busy && c->framing == TO_THE_END) return answered(c);
    if (c->is_busy && !c->got_bytes && !c->is_fresh) {
        /* A kept connection that the server had just given up: what a client sends again on a new one. */
        reopen(c);
        return send_request(c);
    }
    if (c->is_busy) {
        wrong(c, "hung up within the answer");
        in_flight--;
        c->is_busy = 0;
    }
    reopen(c);
    next_call(c);
}

static void receive(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->in_length, IN_SIZE - c->in_length, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return hung_up(c);
    if (!c->is_busy) return wrong(c, "bytes that nobody asked for");
    c->got_bytes = 1;
    c->in_length += (size_t)n;
    size_t at = 0, used;
    int is_whole = 0;
    while (at < c->in_length && !is_whole && (used = step(c, c->in + at, c->in_length - at, &is_whole))) at += used;
    if (is_whole) {
        if (at != c->in_length) wrong(c, "bytes after the answer");
        return answered(c);
    }
    memmove(c->in, c->in + at, c->in_length - at);
    c->in_length -= at;
    if (c->in_length == IN_SIZE) {
        wrong(c, "a head or chunk line without end");
        exit(1);
    }
}

/* ---- when to call ---- */

static void call_when_due(uint64_t due) {
    for (int i = 0; i < connection_count; i++)
        if (!connections[i]->is_busy) return call(connections[i], due);
    if (connection_count < wanted_connections) return call(new_connection(), due);
    waiting[waiting_end++] = due;
}

static void arm(int timer, uint64_t at) {
    struct itimerspec spec = {{0, 0}, {(time_t)(at / SECOND), (long)(at % SECOND)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void run(void) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    /* Starts: at the fixed rate, or one per connection, spread over the stagger. */
    uint64_t interval = rate ? (uint64_t)(SECOND / rate) : (uint64_t)stagger_us * 1000 / (uint64_t)wanted_connections;
    unsigned long begun = 0, wanted = rate ? (unsigned long)(rate * seconds) : (unsigned long)wanted_connections;
    waiting = malloc((wanted + 1) * sizeof *waiting);
    started = now_ns();
    deadline = started + (uint64_t)(seconds * SECOND);
    arm(timer, started + 1);
    while (begun < wanted || in_flight) {
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, 1000);
        if (is_told_to_stop || now_ns() > deadline + GRACE) break;
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) {
                receive(events[i].data.ptr);
                continue;
            }
            for (; begun < wanted && started + begun * interval <= now_ns(); begun++) {
                if (rate) call_when_due(started + begun * interval);
                else call(connections[begun], now_ns());
            }
            if (begun < wanted) arm(timer, started + begun * interval);
            else arm(timer, 0);
        }
    }
    for (int i = 0; i < connection_count; i++)
        if (connections[i]->is_busy && !is_told_to_stop) wrong(connections[i], "no whole answer within 60 s");
}

/* ---- command line and report ---- */

static void stop(int signal_number) {
    (void)signal_number;
    is_told_to_stop = 1;
}

static char *read_file(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    char *data = malloc(1 << 20);
    *length = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *s) {
    if (!s->length) return;
    qsort(s->values, s->length, sizeof *s->values, by_value);
    printf(",\"%s_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f,\"count\":%zu}", name, s->values[s->length / 2],
           s->values[(size_t)((double)s->length * 0.99)], s->values[s->length - 1], s->length);
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGTERM, stop);
    mode = argc > 1 ? argv[1] : "";
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--request")) request = read_file(value, &request_length);
        else if (!strcmp(name, "--reference")) reference = read_file(value, &reference_length);
        else if (!strcmp(name, "--mark")) wanted_mark = value;
        else if (!strcmp(name, "--chunks")) wanted_chunks = atol(value);
        else if (!strcmp(name, "--connections")) wanted_connections = atol(value);
        else if (!strcmp(name, "--seconds")) seconds = atof(value);
        else if (!strcmp(name, "--calls")) most_calls = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--rate")) rate = atof(value);
        else if (!strcmp(name, "--stagger-us")) stagger_us = atol(value);
        else return fprintf(stderr, "load: unknown option %s\n", name), 2;
    }
    int is_open = !strcmp(mode, "open");
    if (!port || !request || is_open != (rate > 0) || (strcmp(mode, "streams") == 0) != (wanted_chunks > 0))
        return fprintf(stderr, "load: closed|open|streams --port --request ...; open needs --rate, streams --chunks\n"), 2;
    poller = epoll_create1(0);
    serial = now_ns(); /* no call of this run repeats one of another run */
    if (!rate)
        while (connection_count < wanted_connections) new_connection();
    run();
    printf("{\"calls\":%lu,\"calls_in_time\":%lu,\"elapsed_s\":%.6f,\"chunks\":%lu,\"errors\":%lu,\"reconnects\":%lu", calls,
           calls_in_time, (double)(now_ns() - started) / 1e9, chunks, errors, reconnects);
    print_samples("latency", &latencies);
    print_samples("first", &firsts);
    print_samples("delay", &delays);
    if (rate) { /* few enough to hand over, so that percentiles can be taken over several runs */
        printf(",\"latency_values_us\":[");
        for (size_t i = 0; i < latencies.length; i++) printf("%s%.1f", i ? "," : "", latencies.values[i]);
        printf("]");
    }
    printf(",\"first_error\":\"%s\"}\n", first_error);
    return 0;
}
