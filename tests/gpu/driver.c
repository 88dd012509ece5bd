// A driver for a card that is not there: it takes memory, copies and kernels, and computes nothing. With it the program compiles every kernel for CUDA
// with the real NVRTC and launches it, on a machine without a card; see tests/gpu/dry. Only what CubeCL calls is here.
//
// DRY_ARCH: the compute capability, 89 without it. DRY_LOG: a file that takes a line for each kernel loaded, and for each thing that a real
// driver would refuse: a function that is not in its module, more shared memory than there is, a grid or block that is too large.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef void *Handle;
typedef uint64_t Address;

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };
enum { SHARED_MEMORY = 101376, THREADS = 1024, GRID = 65535 };

static void told(const char *what, const char *name) {
    const char *path = getenv("DRY_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (!log) return;
    fprintf(log, "%s %s\n", what, name);
    fclose(log);
}

static Result handle(Handle *out) {
    static long next = 4096;
    *out = (Handle)(next += 16);
    return SUCCESS;
}

static Result take(void **out, size_t bytes) {
    *out = calloc(1, bytes ? bytes : 1);
    return *out ? SUCCESS : OUT_OF_MEMORY;
}

Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
Result cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return SUCCESS; }
Result cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "a card that is not there"); return SUCCESS; }
Result cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)24 << 30; return SUCCESS; }
Result cuDeviceGetPCIBusId(char *id, int length, int device) { snprintf(id, length, "0000:01:00.0"); return SUCCESS; }
Result cuDeviceGetLuid(char *luid, unsigned *mask, int device) { memset(luid, 0, 8); *mask = 1; return SUCCESS; }

Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *told_arch = getenv("DRY_ARCH");
    int arch = told_arch ? atoi(told_arch) : 89;
    switch (attribute) { // the numbers of CUdevice_attribute
    case 1: case 2: case 3: *value = THREADS; break;
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break;
    case 6: case 7: *value = GRID; break;
    case 8: *value = 49152; break;
    case 10: *value = 32; break;
    case 16: *value = 128; break;
    case 39: *value = 1536; break;
    case 75: *value = arch / 10; break;
    case 76: *value = arch % 10; break;
    case 97: *value = SHARED_MEMORY; break;
    default: *value = 1;
    }
    return SUCCESS;
}

Result cuDevicePrimaryCtxRetain(Handle *context, int device) { *context = (Handle)4096; return SUCCESS; }
Result cuCtxSetCurrent(Handle context) { return SUCCESS; }
Result cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return SUCCESS; }

Result cuMemAlloc_v2(Address *out, size_t bytes) { return take((void **)out, bytes); }
Result cuMemAllocAsync(Address *out, size_t bytes, Handle stream) { return take((void **)out, bytes); }
Result cuMemHostAlloc(void **out, size_t bytes, unsigned flags) { return take(out, bytes); }
Result cuMemAllocHost_v2(void **out, size_t bytes) { return take(out, bytes); }
Result cuMemFree_v2(Address address) { free((void *)address); return SUCCESS; }
Result cuMemFreeAsync(Address address, Handle stream) { free((void *)address); return SUCCESS; }
Result cuMemFreeHost(void *address) { free(address); return SUCCESS; }
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, Handle stream) { memcpy((void *)to, from, bytes); return SUCCESS; }
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, Handle stream) { memcpy(to, (void *)from, bytes); return SUCCESS; }
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Handle stream) { memcpy((void *)to, (void *)from, bytes); return SUCCESS; }

typedef struct { // CUDA_MEMCPY2D
    size_t from_x, from_y; int from_kind; const char *from_host; Address from_device; Handle from_array; size_t from_pitch;
    size_t to_x, to_y; int to_kind; char *to_host; Address to_device; Handle to_array; size_t to_pitch;
    size_t width, height;
} Copy2D;

Result cuMemcpy2DAsync_v2(const Copy2D *copy, Handle stream) {
    const char *from = copy->from_kind == 1 ? copy->from_host : (const char *)copy->from_device;
    char *to = copy->to_kind == 1 ? copy->to_host : (char *)copy->to_device;
    for (size_t row = 0; row < copy->height; row++)
        memcpy(to + (copy->to_y + row) * copy->to_pitch + copy->to_x, from + (copy->from_y + row) * copy->from_pitch + copy->from_x, copy->width);
    return SUCCESS;
}

Result cuStreamCreate(Handle *stream, unsigned flags) { return handle(stream); }
Result cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) { return handle(stream); }
Result cuStreamSynchronize(Handle stream) { return SUCCESS; }
Result cuStreamDestroy_v2(Handle stream) { return SUCCESS; }
Result cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) { return SUCCESS; }
Result cuStreamIsCapturing(Handle stream, int *status) { *status = 0; return SUCCESS; }
Result cuEventCreate(Handle *event, unsigned flags) { return handle(event); }
Result cuEventRecord(Handle event, Handle stream) { return SUCCESS; }
Result cuEventSynchronize(Handle event) { return SUCCESS; }
Result cuEventQuery(Handle event) { return SUCCESS; }
Result cuEventElapsedTime(float *milliseconds, Handle start, Handle end) { *milliseconds = 0.01f; return SUCCESS; }
Result cuEventElapsedTime_v2(float *milliseconds, Handle start, Handle end) { *milliseconds = 0.01f; return SUCCESS; }
Result cuEventDestroy_v2(Handle event) { return SUCCESS; }

// A module is the text of its PTX, a function its name.
Result cuModuleLoadData(Handle *module, const void *image) { *module = strdup(image); return SUCCESS; }
Result cuModuleUnload(Handle module) { return SUCCESS; }

Result cuModuleGetFunction(Handle *function, Handle module, const char *name) {
    if (!strstr((const char *)module, name)) {
        told("missing", name);
        return NOT_FOUND;
    }
    told("kernel", name);
    *function = strdup(name);
    return SUCCESS;
}

Result cuFuncSetAttribute(Handle function, int attribute, int value) {
    if (attribute != 8 || value <= SHARED_MEMORY) return SUCCESS;
    told("too much shared memory:", function);
    return INVALID_VALUE;
}

Result cuLaunchKernel(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                      unsigned shared, Handle stream, void **arguments, void **extra) {
    unsigned block = block_x * block_y * block_z;
    int fits = grid_x && grid_y && grid_z && grid_y <= GRID && grid_z <= GRID && block && block <= THREADS && shared <= SHARED_MEMORY;
    if (fits) return SUCCESS;
    told("cannot be launched:", function);
    return INVALID_VALUE;
}

Result cuGetErrorName(int error, const char **name) { *name = "an error of the driver that is not there"; return SUCCESS; }
Result cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }
Result cuTensorMapEncodeTiled(void) { return SUCCESS; }
Result cuTensorMapEncodeIm2col(void) { return SUCCESS; }
Result cuTensorMapEncodeIm2colWide(void) { return SUCCESS; }
