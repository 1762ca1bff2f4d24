"""Per-pixel shading: wrapped diffuse light for skin, wet highlights, Kajiya-Kay hair, and the camera's response.

Hair: Kajiya and Kay, "Rendering fur with three dimensional textures" (1989), highlight by the strand's tangent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from model_server.synthetic.rasterizer import perspective_weights

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

SKIN, EYE, MOUTH, HAIR, CLOTH = range(5)
NO_TEXTURE = -1

# Per material: wrap of red, green, blue; broad highlight's strength; narrow highlight's strength.
MATERIALS = np.array(
    [
        [0.34, 0.14, 0.07, 0.40, 0.10],
        [0.25, 0.20, 0.18, 0.04, 3.5],
        [0.30, 0.20, 0.18, 0.12, 0.40],
        [0.0, 0.0, 0.0, 0.32, 0.0],
        [0.15, 0.15, 0.15, 0.02, 0.0],
    ],
    np.float32,
)
# Squarings of the cosine in the broad highlight, per material; the narrow one has three more.
BROADNESS = np.array([4, 4, 5, 5, 3], np.int32)
# Light bleeds through skin: shadows lose red last.
BLEED = np.array([0.22, 0.08, 0.0], np.float32)
CHANNELS = 6
FLAT = np.array([1.0, 0.0, 0.0], np.float32)  # gloss and relief where there is no texture


@njit(cache=True, nogil=True, fastmath=True)
def _sample(textures: Floats, layer: int, u: np.floating, v: np.floating, out: Floats) -> None:
    """Bilinear texel (6,) at texture coordinates 0..1."""
    size = textures.shape[1]
    x = min(max(u * size - np.float32(0.5), np.float32(0.0)), np.float32(size - 1.01))
    y = min(max((np.float32(1.0) - v) * size - np.float32(0.5), np.float32(0.0)), np.float32(size - 1.01))
    x0, y0 = int(x), int(y)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    for c in range(CHANNELS):
        top = textures[layer, y0, x0, c]
        low = textures[layer, y0 + 1, x0, c]
        top += (textures[layer, y0, x0 + 1, c] - top) * fx
        low += (textures[layer, y0 + 1, x0 + 1, c] - low) * fx
        out[c] = top + (low - top) * fy


@njit(cache=True, nogil=True, fastmath=True)
def _mix(values: Floats, a: int, b: int, c: int, wa: float, wb: float, wc: float, k: int) -> np.floating:
    return np.float32(wa * values[a, k] + wb * values[b, k] + wc * values[c, k])


@njit(cache=True, nogil=True, fastmath=True)
def shade(
    screen: Floats,
    triangles: Ints,
    ids: Ints,
    points: Floats,
    normals: Floats,
    colours: Floats,
    occlusion: Floats,
    corner_uv: Floats,
    layers: Ints,
    materials: Ints,
    textures: Floats,
    lights: Floats,
    eye_z: float,
    picture: Floats,
) -> None:
    """Writes the light (H, W, 3) of every covered pixel into `picture`.

    Args:
        screen, triangles, ids: projected vertices (V, 3), their indices (T, 3), and the visible triangle (H, W) or -1.
        points, normals: (V, 3) vertices, cm, and unit normals; tangents for hair.
        colours: (V, 3) albedo of triangles without texture.
        occlusion: (V, 3) visibility 0..1 of the sky, the key light and the rim light.
        corner_uv: (T, 3, 2) texture coordinates.
        layers, materials: (T,) texture layer or `NO_TEXTURE`; row of `MATERIALS`.
        textures: (L, S, S, 6) albedo, gloss, and relief as slopes along x and y.
        lights: (6, 3) key direction, rim direction, key, rim, sky and ground radiance.
        eye_z: distance of the camera on the z axis, cm.
        picture: (H, W, 3) linear light, updated in place.
    """
    texel = np.zeros(CHANNELS, np.float32)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            wa, wb, wc = perspective_weights(screen, a, b, c, x + 0.5, y + 0.5)
            if layers[t] >= 0:
                u = _mix(corner_uv[t], 0, 1, 2, wa, wb, wc, 0)
                v = _mix(corner_uv[t], 0, 1, 2, wa, wb, wc, 1)
                _sample(textures, layers[t], u, v, texel)
            else:
                for k in range(3):
                    texel[k] = _mix(colours, a, b, c, wa, wb, wc, k)
                texel[3:] = FLAT
            nx = _mix(normals, a, b, c, wa, wb, wc, 0) - texel[4]
            ny = _mix(normals, a, b, c, wa, wb, wc, 1) - texel[5]
            nz = _mix(normals, a, b, c, wa, wb, wc, 2)
            scale = np.float32(1.0) / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6))
            vx, vy = -_mix(points, a, b, c, wa, wb, wc, 0), -_mix(points, a, b, c, wa, wb, wc, 1)
            vz = np.float32(eye_z) - _mix(points, a, b, c, wa, wb, wc, 2)
            far = np.float32(1.0) / np.sqrt(vx * vx + vy * vy + vz * vz)
            normal, view = (nx * scale, ny * scale, nz * scale), (vx * far, vy * far, vz * far)
            for light in range(3):
                open_to = _mix(occlusion, a, b, c, wa, wb, wc, light)
                if light == 0:
                    _add_sky(materials[t], normal, texel, open_to, lights, picture[y, x])
                elif open_to > 0.01:
                    _add_light(materials[t], normal, view, texel, open_to, lights, light - 1, picture[y, x])


@njit(cache=True, nogil=True, fastmath=True)
def _add_sky(material, normal, texel, open_to, lights, out):  # type: ignore[no-untyped-def]
    """Ambient light between ground and sky, darkened where the surroundings are hidden."""
    up = np.float32(0.6) if material == HAIR else np.float32(0.5) + np.float32(0.5) * normal[1]
    hidden = open_to * (1 - open_to) if material <= MOUTH else np.float32(0.0)
    for k in range(3):
        ambient = lights[5, k] + (lights[4, k] - lights[5, k]) * up
        out[k] = texel[k] * ambient * (open_to + BLEED[k] * hidden)


@njit(cache=True, nogil=True, fastmath=True)
def _add_light(material, normal, view, texel, open_to, lights, light, out):  # type: ignore[no-untyped-def]
    """One lamp's diffuse light and highlights."""
    lx, ly, lz = lights[light, 0], lights[light, 1], lights[light, 2]
    hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
    norm = np.float32(1.0) / (np.sqrt(hx * hx + hy * hy + hz * hz) + np.float32(1e-6))
    cosine = normal[0] * lx + normal[1] * ly + normal[2] * lz
    shine = (normal[0] * hx + normal[1] * hy + normal[2] * hz) * norm
    if material == HAIR:
        diffuse = np.float32(0.7) * np.sqrt(max(1 - cosine * cosine, np.float32(0.0)))
        glow = np.sqrt(max(1 - shine * shine, np.float32(0.0)))
    else:
        diffuse, glow = cosine, max(shine, np.float32(0.0))
    for _ in range(BROADNESS[material]):
        glow *= glow
    row = MATERIALS[material]
    if material == HAIR:
        glow *= row[3] * open_to
        for k in range(3):
            radiance = lights[2 + light, k]
            out[k] += radiance * (texel[k] * diffuse * open_to + glow * (np.float32(0.10) + np.float32(1.7) * texel[k]))
        return
    glancing = 1 - max(normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2], np.float32(0.0))
    narrow = glow * glow
    narrow *= narrow
    narrow *= narrow
    fresnel = np.float32(0.35) + np.float32(0.65) * glancing * glancing * glancing
    wet = texel[3] * open_to * np.float32(0.5) * (row[3] * fresnel * glow + row[4] * narrow)
    if cosine < -0.1:
        wet = np.float32(0.0)
    hidden = open_to * (1 - open_to)
    for k in range(3):
        lit = max((diffuse + row[k]) / (1 + row[k]), np.float32(0.0))
        out[k] += lights[2 + light, k] * (texel[k] * lit * (open_to + BLEED[k] * hidden) + wet)


@njit(cache=True, nogil=True, fastmath=True)
def develop(
    picture: Floats, factor: int, exposure: float, grain: Floats, gamma: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Averages factor x factor samples, adds sensor noise and applies the response curve.

    Args:
        picture: (H * factor, W * factor, 3) linear light.
        exposure: factor on the light.
        grain: (H, W, 3) noise, in units of the signal's square root.
        gamma: (4096,) response for light 0..1.

    Returns:
        (H, W, 3) sRGB picture.
    """
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    out = np.empty((height, width, 3), np.uint8)
    scale = exposure / (factor * factor)
    for y in range(height):
        for x in range(width):
            for k in range(3):
                total = 0.0
                for i in range(factor):
                    for j in range(factor):
                        total += min(picture[y * factor + i, x * factor + j, k], 3.0)
                light = max(total * scale, 0.0)
                light += grain[y, x, k] * np.sqrt(light + 0.002)
                out[y, x, k] = gamma[int(min(max(light, 0.0), 1.0) * 4095.0)]
    return out


def response_curve() -> npt.NDArray[np.uint8]:
    """Display values (4096,) of light 0..1: a soft shoulder, then sRGB."""
    light = np.linspace(0.0, 1.0, 4096)
    toned = light**1.12 * 1.22 / (1.0 + 0.22 * light**1.5)
    srgb = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    return np.round(np.clip(srgb, 0, 1) * 255).astype(np.uint8)
