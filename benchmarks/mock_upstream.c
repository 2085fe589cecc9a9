/*
 * A scripted upstream that costs next to nothing: one thread, epoll, keep-alive.
 *
 *     cc -O2 -o mock_upstream mock_upstream.c && ./mock_upstream
 *     port 41234
 *
 * Any POST is a chat completion: 1 KB of JSON with content-length, or, when the body holds "stream":true, an event
 * stream in chunked coding whose chunks leave on a fixed schedule from the moment the call arrived.
 *
 * Every answer and every chunk carries `@` and 16 hexadecimal digits. In a plain answer they are a serial number, so
 * that no two answers are alike; in a chunk they are the clock (CLOCK_MONOTONIC, ns) at which the chunk left here, so
 * that a load generator on the same machine can tell how long it was on its way.
 *
 *     GET  /mock                          calls, chunks and connections so far, connections_open, streams_open, as JSON
 *     POST /mock?chunks=100&pace_us=20000 sets the script of the streams that begin from now on
 *     GET  anything else                  200 with a short JSON body, for health checks
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
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 20000
#define MAX_HEAD 65536

struct connection {
    char *in;
    size_t in_length, in_size;
    char *out; /* what the socket did not take yet */
    size_t out_length, out_size;
    int is_streaming, is_closing;
    uint32_t generation; /* a due time in the heap may outlive its connection */
    long chunks_left;
    uint64_t next_due, pace;
};

struct due {
    uint64_t at;
    int fd;
    uint32_t generation;
};

static struct connection connections[MAX_FDS];
static struct due heap[MAX_FDS * 4];
static int heap_length;
static int poller, timer;
static uint64_t armed_for;
static long script_chunks = 100, script_pace_us = 20000;
static unsigned long calls, chunks_sent, accepted, connections_open, streams_open;

static const char PLAIN[] =
    "{\"id\":\"chatcmpl-@%016lx\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":[{"
    "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s THE END\",\"refusal\":null},\"logprobs\":null,"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":210,\"completion_tokens\":140,\"total_tokens\":350},"
    "\"system_fingerprint\":\"fp_1\"}";
static const char WORDS[] =
    "The transfer left your account this morning and should arrive by tomorrow evening. If it has not, tell me the "
    "amount and the last four digits of the other account, and I will look for it. The daily limit for transfers is "
    "2,500; you can raise it for one day under Settings, Limits, after confirming with the second factor. Your card "
    "stays blocked until you unblock it there, too. Two fees were booked this month: one for the replacement card and "
    "one for paper statements, which you can switch off. Is there anything else that you would like me to check, such "
    "as the standing order that you changed last week, or shall I send you a summary of what was done today?";
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
static const char CHUNK[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\","
    "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"@%016lx \"},\"finish_reason\":null}]}\n\n";
static const char LAST[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\","
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
static const char DONE[] = "data: [DONE]\n\n";

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void must(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void *grow(void *memory, size_t *size, size_t wanted) {
    if (wanted <= *size) return memory;
    *size = wanted * 2;
    memory = realloc(memory, *size);
    must(memory != NULL, "realloc");
    return memory;
}

/* ---- what is due when: a binary heap and one timer ---- */

static void arm(void) {
    uint64_t at = heap_length ? heap[0].at : 0;
    if (at == armed_for) return;
    struct itimerspec spec = {{0, 0}, {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL);
    armed_for = at;
}

static void push(struct due item) {
    must(heap_length < MAX_FDS * 4, "too many streams");
    int i = heap_length++;
    for (; i && heap[(i - 1) / 2].at > item.at; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = item;
}

static struct due pop(void) {
    struct due first = heap[0], last = heap[--heap_length];
    int i = 0;
    for (;;) {
        int child = 2 * i + 1;
        if (child >= heap_length) break;
        if (child + 1 < heap_length && heap[child + 1].at < heap[child].at) child++;
        if (heap[child].at >= last.at) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

/* ---- a connection's life ---- */

static void hang_up(int fd) {
    struct connection *c = &connections[fd];
    if (c->is_streaming) streams_open--;
    c->is_streaming = 0;
    c->generation++;
    connections_open--;
    close(fd);
}

static void watch(int fd, int also_writable) {
    struct epoll_event event = {.events = EPOLLIN | (also_writable ? EPOLLOUT : 0), .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

/* Returns 0 when the connection is gone. */
static int send_all(int fd, const char *data, size_t length) {
    struct connection *c = &connections[fd];
    if (!c->out_length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return hang_up(fd), 0;
        if (sent < 0) sent = 0;
        data += sent;
        length -= (size_t)sent;
        if (!length) return 1;
        watch(fd, 1);
    }
    c->out = grow(c->out, &c->out_size, c->out_length + length);
    memcpy(c->out + c->out_length, data, length);
    c->out_length += length;
    return 1;
}

static void send_rest(int fd) {
    struct connection *c = &connections[fd];
    ssize_t sent = send(fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return hang_up(fd);
    memmove(c->out, c->out + sent, c->out_length - (size_t)sent);
    c->out_length -= (size_t)sent;
    if (c->out_length) return;
    watch(fd, 0);
    if (c->is_closing) hang_up(fd);
}

static size_t frame(char *at, const char *event, size_t length) {
    size_t n = (size_t)sprintf(at, "%zx\r\n", length);
    memcpy(at + n, event, length);
    memcpy(at + n + length, "\r\n", 2);
    return n + length + 2;
}

static int send_chunk(int fd, int is_first) {
    struct connection *c = &connections[fd];
    char event[512], block[2048];
    size_t n = 0;
    if (is_first) {
        memcpy(block, STREAM_HEAD, sizeof STREAM_HEAD - 1);
        n = sizeof STREAM_HEAD - 1;
    }
    int length = sprintf(event, CHUNK, is_first ? "\"role\":\"assistant\"," : "", now_ns());
    n += frame(block + n, event, (size_t)length);
    chunks_sent++;
    if (--c->chunks_left <= 0) {
        n += frame(block + n, LAST, sizeof LAST - 1);
        n += frame(block + n, DONE, sizeof DONE - 1);
        memcpy(block + n, "0\r\n\r\n", 5);
        n += 5;
        c->is_streaming = 0;
        streams_open--;
    }
    if (!send_all(fd, block, n)) return 0;
    if (c->is_streaming) {
        c->next_due += c->pace;
        push((struct due){c->next_due, fd, c->generation});
    }
    return 1;
}

static int send_json(int fd, const char *json) {
    char answer[4096];
    int n = sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                    strlen(json), json);
    return send_all(fd, answer, (size_t)n);
}

static int wants_stream(const char *body, size_t length) {
    const char *at = memmem(body, length, "\"stream\"", 8), *end = body + length;
    if (!at) return 0;
    for (at += 8; at < end && (*at == ' ' || *at == ':'); at++) {
    }
    return end - at >= 4 && !memcmp(at, "true", 4);
}

static int answer(int fd, const char *head, const char *body, size_t body_length) {
    struct connection *c = &connections[fd];
    char json[2048];
    const char *target = strchr(head, ' ');
    if (target && !strncmp(target + 1, "/mock", 5)) {
        if (head[0] == 'P') sscanf(target + 6, "?chunks=%ld&pace_us=%ld", &script_chunks, &script_pace_us);
        sprintf(json, "{\"calls\":%lu,\"chunks\":%lu,\"connections\":%lu,\"connections_open\":%lu,\"streams_open\":%lu}",
                calls, chunks_sent, accepted, connections_open, streams_open);
        return send_json(fd, json);
    }
    if (head[0] != 'P') return send_json(fd, "{\"object\":\"list\",\"data\":[]}");
    calls++;
    if (!wants_stream(body, body_length)) {
        sprintf(json, PLAIN, calls, WORDS);
        return send_json(fd, json);
    }
    c->is_streaming = 1;
    streams_open++;
    c->chunks_left = script_chunks;
    c->pace = (uint64_t)script_pace_us * 1000u;
    c->next_due = now_ns();
    return send_chunk(fd, 1);
}

static const char *field(const char *head, const char *name) {
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) : NULL;
}

/* Decodes chunked coding in place. Returns the bytes used, 0 when some are missing; *decoded is the body's length. */
static size_t unchunk(char *body, size_t length, size_t *decoded) {
    size_t at = 0;
    *decoded = 0;
    for (;;) {
        char *end = memmem(body + at, length - at, "\r\n", 2);
        if (!end) return 0;
        size_t size = strtoul(body + at, NULL, 16);
        at = (size_t)(end - body) + 2;
        if (length - at < size + 2) return 0;
        if (!size) return at + 2;
        memmove(body + *decoded, body + at, size);
        *decoded += size;
        at += size + 2;
    }
}

/* Answers every whole request that has arrived; one after the other, as HTTP/1.1 wants. */
static void take_requests(int fd) {
    struct connection *c = &connections[fd];
    while (c->in_length && !c->is_streaming && !c->is_closing) {
        char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
        if (!end) {
            if (c->in_length > MAX_HEAD) hang_up(fd);
            return;
        }
        size_t head = (size_t)(end - c->in) + 4, used, body_length = 0;
        end[2] = 0; /* the head as a string, its last field's CRLF kept */
        const char *text = field(c->in, "\r\ncontent-length:");
        if (text) {
            body_length = strtoul(text, NULL, 10);
            used = c->in_length - head >= body_length ? head + body_length : 0;
        } else if (field(c->in, "\r\ntransfer-encoding: chunked")) {
            char *copy = malloc(c->in_length - head + 1);
            memcpy(copy, c->in + head, c->in_length - head);
            copy[c->in_length - head] = 0;
            used = unchunk(copy, c->in_length - head, &body_length);
            if (used) memcpy(c->in + head, copy, body_length), used += head;
            free(copy);
        } else {
            used = head;
        }
        int is_last = field(c->in, "\r\nconnection: close") != NULL;
        if (!used) {
            end[2] = '\r';
            return;
        }
        if (!answer(fd, c->in, c->in + head, body_length)) return;
        memmove(c->in, c->in + used, c->in_length - used);
        c->in_length -= used;
        if (is_last && !c->is_streaming) {
            c->is_closing = 1;
            if (!c->out_length) hang_up(fd);
        }
    }
}

static void read_more(int fd) {
    struct connection *c = &connections[fd];
    c->in = grow(c->in, &c->in_size, c->in_length + 16384);
    ssize_t n = recv(fd, c->in + c->in_length, c->in_size - c->in_length - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return hang_up(fd);
    c->in_length += (size_t)n;
    take_requests(fd);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) return;
        must(fd < MAX_FDS, "too many connections");
        struct connection *c = &connections[fd];
        c->in_length = c->out_length = 0;
        c->is_streaming = c->is_closing = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        accepted++;
        connections_open++;
    }
}

static void send_what_is_due(void) {
    uint64_t expirations, now = now_ns();
    if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) must(0, "timerfd");
    armed_for = 0;
    while (heap_length && heap[0].at <= now) {
        struct due due = pop();
        struct connection *c = &connections[due.fd];
        if (c->generation != due.generation || !c->is_streaming) continue;
        if (send_chunk(due.fd, 0) && !c->is_streaming) take_requests(due.fd);
    }
}

int main(void) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(!bind(listener, (struct sockaddr *)&address, length), "bind");
    must(!listen(listener, 4096), "listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = i ? timer : listener};
        epoll_ctl(poller, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) accept_all(listener);
            else if (fd == timer) send_what_is_due();
            else {
                uint32_t generation = connections[fd].generation;
                if (events[i].events & EPOLLOUT) send_rest(fd);
                if (connections[fd].generation == generation && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                    read_more(fd);
            }
        }
        arm();
    }
}
