"""Per-pixel shading: wrapped diffuse light for skin, wet highlights, Kajiya-Kay hair, and the camera's response.

Hair: Kajiya and Kay, "Rendering fur with three dimensional textures" (1989), highlight by the strand's tangent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from model_server.synthetic.rasterizer import perspective_weights

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

SKIN, EYE, MOUTH, HAIR, CLOTH = range(5)
NO_TEXTURE = -1

# Per material: wrap of red, green, blue; highlight strength and exponent; strength of a second, narrow highlight.
MATERIALS = np.array(
    [
        [0.35, 0.18, 0.10, 0.22, 14.0, 0.10],
        [0.25, 0.20, 0.18, 0.03, 60.0, 2.60],
        [0.30, 0.20, 0.18, 0.12, 30.0, 0.35],
        [0.0, 0.0, 0.0, 0.30, 40.0, 0.0],
        [0.15, 0.15, 0.15, 0.02, 6.0, 0.0],
    ],
    np.float32,
)


@njit(cache=True, nogil=True, fastmath=True)
def _sample(textures: Floats, layer: int, u: float, v: float, out: Floats) -> None:
    size = textures.shape[1]
    x = min(max(u * size - 0.5, 0.0), size - 1.001)
    y = min(max((1.0 - v) * size - 0.5, 0.0), size - 1.001)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, y - y0
    for c in range(4):
        top = textures[layer, y0, x0, c] * (1 - fx) + textures[layer, y0, x0 + 1, c] * fx
        low = textures[layer, y0 + 1, x0, c] * (1 - fx) + textures[layer, y0 + 1, x0 + 1, c] * fx
        out[c] = top * (1 - fy) + low * fy


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
        screen: (V, 3) projected vertices.
        triangles: (T, 3) vertex indices.
        ids: (H, W) visible triangle or -1.
        points: (V, 3) vertices, cm.
        normals: (V, 3) unit normals; tangents for hair.
        colours: (V, 3) albedo, multiplied into the texture where there is one.
        occlusion: (V, 3) visibility 0..1 of the sky, the key light and the rim light.
        corner_uv: (T, 3, 2) texture coordinates.
        layers: (T,) texture layer or `NO_TEXTURE`.
        materials: (T,) row of `MATERIALS`.
        textures: (L, S, S, 4) albedo and gloss.
        lights: (6, 3) key direction, rim direction, key, rim, sky and ground radiance.
        eye_z: distance of the camera on the z axis, cm.
        picture: (H, W, 3) linear light, updated in place.
    """
    height, width = ids.shape
    texel = np.empty(4, np.float32)
    n, p, view, half = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for y in range(height):
        for x in range(width):
            t = ids[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            wa, wb, wc = perspective_weights(screen, a, b, c, x + 0.5, y + 0.5)
            length = 1e-12
            for k in range(3):
                p[k] = wa * points[a, k] + wb * points[b, k] + wc * points[c, k]
                n[k] = wa * normals[a, k] + wb * normals[b, k] + wc * normals[c, k]
                texel[k] = wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]
                length += n[k] * n[k]
            n /= np.sqrt(length)
            gloss = 1.0
            if layers[t] >= 0:
                u = wa * corner_uv[t, 0, 0] + wb * corner_uv[t, 1, 0] + wc * corner_uv[t, 2, 0]
                v = wa * corner_uv[t, 0, 1] + wb * corner_uv[t, 1, 1] + wc * corner_uv[t, 2, 1]
                _sample(textures, layers[t], u, v, texel)
                gloss = texel[3]
            sky = wa * occlusion[a, 0] + wb * occlusion[b, 0] + wc * occlusion[c, 0]
            key = wa * occlusion[a, 1] + wb * occlusion[b, 1] + wc * occlusion[c, 1]
            rim = wa * occlusion[a, 2] + wb * occlusion[b, 2] + wc * occlusion[c, 2]
            view[0], view[1], view[2] = -p[0], -p[1], eye_z - p[2]
            view /= np.sqrt((view * view).sum())
            _light_point(materials[t], n, view, half, texel, gloss, sky, key, rim, lights, picture[y, x])


@njit(cache=True, nogil=True, fastmath=True, inline="never")
def _light_point(material, n, view, half, albedo, gloss, sky, key, rim, lights, out):  # type: ignore[no-untyped-def]
    row = MATERIALS[material]
    facing = max(n[0] * view[0] + n[1] * view[1] + n[2] * view[2], 0.0)
    up = 0.5 + 0.5 * n[1]
    if material == HAIR:
        up = 0.6
    for k in range(3):
        ambient = lights[5, k] + (lights[4, k] - lights[5, k]) * up
        # Light bleeds through skin, so red is occluded less than blue.
        open_sky = sky if material == HAIR or material == CLOTH else sky ** (0.75 + 0.2 * k)
        out[k] = albedo[k] * ambient * open_sky
    for light in range(2):
        shadow = key if light == 0 else rim
        if shadow <= 0.01:
            continue
        lx, ly, lz = lights[light, 0], lights[light, 1], lights[light, 2]
        half[0], half[1], half[2] = lx + view[0], ly + view[1], lz + view[2]
        half /= np.sqrt((half * half).sum()) + 1e-9
        cosine = n[0] * lx + n[1] * ly + n[2] * lz
        shine = n[0] * half[0] + n[1] * half[1] + n[2] * half[2]
        narrow = 0.0
        if material == HAIR:
            diffuse = 0.75 * np.sqrt(max(1.0 - cosine * cosine, 0.0))
            glow = row[3] * max(1.0 - shine * shine, 0.0) ** row[4]
        else:
            diffuse = cosine
            fresnel = 0.35 + 0.65 * (1.0 - facing) ** 3
            glow = row[3] * fresnel * max(shine, 0.0) ** row[4] if cosine > -0.1 else 0.0
            narrow = row[5] * max(shine, 0.0) ** (row[4] * 6.0)
        for k in range(3):
            radiance = lights[2 + light, k]
            if material == HAIR:
                out[k] += radiance * shadow * (albedo[k] * diffuse + glow * (0.10 + 1.6 * albedo[k]))
            else:
                lit = max((diffuse + row[k]) / (1.0 + row[k]), 0.0)
                soft = shadow ** (0.8 + 0.25 * k)
                out[k] += radiance * (albedo[k] * lit * soft + gloss * shadow * (glow + narrow) * 0.5)


@njit(cache=True, nogil=True, fastmath=True)
def develop(picture: Floats, factor: int, exposure: float, grain: Floats, gamma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
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
    toned = light * (1.0 + 0.25 * light) / (1.0 + 0.25 * light**2) / 1.0
    toned = np.clip(toned, 0.0, 1.0)
    srgb = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    return np.round(np.clip(srgb, 0, 1) * 255).astype(np.uint8)
