/* A webcam for tests where the kernel has no video driver: a library that is loaded before libc (LD_PRELOAD) and
 * answers for the files $FAKE_V4L2/videoN what a driver would, by the kernel's own header. It offers
 *   MJPG 1280x720 at 30 and 15, 640x480 at 30;  YUYV 640x480 at 30, 1280x720 at 10.
 * A file beside videoN says how it is:  videoN.denied, videoN.busy, videoN.gone (pulled out), videoN.jpg (its picture).
 * Like the drivers that there are, it changes a size or rate that it has not without a word.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#undef open
#undef open64
#undef mmap
#undef mmap64

enum { BUFFERS = 8, ROOM = 2 * 1280 * 720 };
struct mode { unsigned format, width, height, rates[2]; };
static const struct mode MODES[] = {
    {V4L2_PIX_FMT_MJPEG, 1280, 720, {30, 15}}, {V4L2_PIX_FMT_MJPEG, 640, 480, {30, 0}},
    {V4L2_PIX_FMT_YUYV, 640, 480, {30, 0}}, {V4L2_PIX_FMT_YUYV, 1280, 720, {10, 0}},
};
static const unsigned FORMATS[] = {V4L2_PIX_FMT_MJPEG, V4L2_PIX_FMT_YUYV};
enum { COUNT = sizeof MODES / sizeof *MODES };

static struct {
    char path[512];
    const struct mode *mode;
    unsigned rate, head, queued, sequence, ring[BUFFERS];
    double due;
    unsigned char *memory[BUFFERS];
} devices[1024];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int is(const char *path, const char *what) {
    char name[600];
    snprintf(name, sizeof name, "%s.%s", path, what);
    return access(name, F_OK) == 0;
}

static const char *ours(const char *path) {
    const char *folder = getenv("FAKE_V4L2");
    size_t n = folder ? strlen(folder) : 0;
    return n && !strncmp(path, folder, n) && !strncmp(path + n, "/video", 6) && !strchr(path + n + 6, '.') ? path : NULL;
}

static int refuse(int error) { errno = error; return -1; }

static int open_any(const char *symbol, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, symbol);
    if (!ours(path)) return real(path, flags, mode);
    if (is(path, "denied")) return refuse(EACCES);
    if (is(path, "gone")) return refuse(ENODEV);
    int fd = real(path, flags & ~O_NONBLOCK, mode);
    if (fd < 0 || fd >= 1024) return fd;
    memset(&devices[fd], 0, sizeof devices[fd]);
    snprintf(devices[fd].path, sizeof devices[fd].path, "%s", path);
    devices[fd].mode = &MODES[2];
    devices[fd].rate = 30;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return open_any("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return open_any("open64", path, flags, mode);
}

int close(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < 1024) devices[fd].path[0] = 0;
    return real(fd);
}

static void *map_any(const char *symbol, void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, symbol);
    if (fd < 0 || fd >= 1024 || !devices[fd].path[0]) return real(at, size, protection, flags, fd, offset);
    void *memory = real(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return devices[fd].memory[offset / ROOM % BUFFERS] = memory;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    return map_any("mmap", at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset) {
    return map_any("mmap64", at, size, protection, flags, fd, offset);
}

static unsigned picture(int fd, unsigned char *memory) {
    const struct mode *mode = devices[fd].mode;
    if (mode->format == V4L2_PIX_FMT_YUYV) {
        for (unsigned i = 0; i < mode->width * mode->height; i++) memory[2 * i] = 16 + i % mode->width * 200 / mode->width, memory[2 * i + 1] = 128;
        return 2 * mode->width * mode->height;
    }
    char name[600];
    snprintf(name, sizeof name, "%s.jpg", devices[fd].path);
    FILE *file = fopen(name, "rb");
    size_t size = file ? fread(memory, 1, ROOM, file) : 0;
    if (file) fclose(file);
    return size;
}

static void format_of(int fd, struct v4l2_pix_format *pix) {
    const struct mode *mode = devices[fd].mode;
    pix->width = mode->width, pix->height = mode->height, pix->pixelformat = mode->format;
    pix->field = V4L2_FIELD_NONE, pix->sizeimage = ROOM;
    pix->bytesperline = mode->format == V4L2_PIX_FMT_YUYV ? 2 * mode->width : 0;
}

static int answer(int fd, unsigned long request, void *p) {
    const struct mode *mode = devices[fd].mode;
    if (is(devices[fd].path, "gone")) return refuse(ENODEV);
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *c = p;
        memset(c, 0, sizeof *c);
        strcpy((char *)c->driver, "fake"), strcpy((char *)c->card, "Fake Camera");
        c->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        c->capabilities = c->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *f = p;
        if (f->index >= 2) return refuse(EINVAL);
        f->pixelformat = FORMATS[f->index];
        return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES: {
        struct v4l2_frmsizeenum *s = p;
        unsigned left = s->index;
        for (int i = 0; i < COUNT; i++)
            if (MODES[i].format == s->pixel_format && left-- == 0) {
                s->type = V4L2_FRMSIZE_TYPE_DISCRETE;
                s->discrete.width = MODES[i].width, s->discrete.height = MODES[i].height;
                return 0;
            }
        return refuse(EINVAL);
    }
    case VIDIOC_ENUM_FRAMEINTERVALS: {
        struct v4l2_frmivalenum *v = p;
        for (int i = 0; i < COUNT; i++)
            if (MODES[i].format == v->pixel_format && MODES[i].width == v->width && MODES[i].height == v->height) {
                if (v->index >= 2 || !MODES[i].rates[v->index]) return refuse(EINVAL);
                v->type = V4L2_FRMIVAL_TYPE_DISCRETE;
                v->discrete.numerator = 1, v->discrete.denominator = MODES[i].rates[v->index];
                return 0;
            }
        return refuse(EINVAL);
    }
    case VIDIOC_G_INPUT: *(int *)p = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_ENUMINPUT: {
        struct v4l2_input *i = p;
        if (i->index) return refuse(EINVAL);
        i->type = V4L2_INPUT_TYPE_CAMERA, i->std = 0, i->status = 0;
        return 0;
    }
    case VIDIOC_G_FMT: format_of(fd, &((struct v4l2_format *)p)->fmt.pix); return 0;
    case VIDIOC_S_FMT: case VIDIOC_TRY_FMT: {
        struct v4l2_pix_format *pix = &((struct v4l2_format *)p)->fmt.pix;
        const struct mode *best = mode;
        for (int i = COUNT - 1; i >= 0; i--)
            if (MODES[i].format == pix->pixelformat) best = &MODES[i];
        for (int i = 0; i < COUNT; i++)
            if (MODES[i].format == pix->pixelformat && MODES[i].width == pix->width && MODES[i].height == pix->height) best = &MODES[i];
        devices[fd].mode = best, devices[fd].rate = best->rates[0];
        format_of(fd, pix);
        return 0;
    }
    case VIDIOC_G_PARM: case VIDIOC_S_PARM: {
        struct v4l2_captureparm *c = &((struct v4l2_streamparm *)p)->parm.capture;
        if (request == VIDIOC_S_PARM && c->timeperframe.numerator)
            for (int i = 0; i < 2; i++)
                if (mode->rates[i] && mode->rates[i] == c->timeperframe.denominator / c->timeperframe.numerator) devices[fd].rate = mode->rates[i];
        c->capability = V4L2_CAP_TIMEPERFRAME;
        c->timeperframe.numerator = 1, c->timeperframe.denominator = devices[fd].rate;
        return 0;
    }
    case VIDIOC_REQBUFS:
        if (is(devices[fd].path, "busy")) return refuse(EBUSY);
        if (((struct v4l2_requestbuffers *)p)->count > BUFFERS) ((struct v4l2_requestbuffers *)p)->count = BUFFERS;
        return 0;
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *b = p;
        b->length = ROOM, b->m.offset = b->index * ROOM;
        return 0;
    }
    case VIDIOC_QBUF:
        devices[fd].ring[(devices[fd].head + devices[fd].queued++) % BUFFERS] = ((struct v4l2_buffer *)p)->index;
        return 0;
    case VIDIOC_STREAMON: devices[fd].due = now(); return 0;
    case VIDIOC_STREAMOFF: return 0;
    case VIDIOC_DQBUF: {
        struct v4l2_buffer *b = p;
        while (devices[fd].due > now() || !devices[fd].queued) {
            usleep(1000);
            if (is(devices[fd].path, "gone")) return refuse(ENODEV);
        }
        double at = now();
        devices[fd].due = at + 1.0 / devices[fd].rate;
        b->index = devices[fd].ring[devices[fd].head];
        devices[fd].head = (devices[fd].head + 1) % BUFFERS, devices[fd].queued--;
        b->bytesused = picture(fd, devices[fd].memory[b->index]);
        b->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, b->sequence = devices[fd].sequence++;
        b->timestamp.tv_sec = at, b->timestamp.tv_usec = (at - (long)at) * 1e6;
        return 0;
    }
    }
    return refuse(ENOTTY);
}

int ioctl(int fd, unsigned long request, ...) {
    static int (*real)(int, unsigned long, ...);
    if (!real) real = dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    va_start(rest, request);
    void *p = va_arg(rest, void *);
    va_end(rest);
    if (fd < 0 || fd >= 1024 || !devices[fd].path[0]) return real(fd, request, p);
    return answer(fd, request & 0xffffffff, p);
}
