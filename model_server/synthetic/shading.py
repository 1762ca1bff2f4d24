"""Per-pixel shading: wrapped diffuse light for skin, wet highlights, Kajiya-Kay hair, and the camera's response.

Hair: Kajiya and Kay, "Rendering fur with three dimensional textures" (1989), highlight by the strand's tangent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from model_server.synthetic.rasterizer import perspective_weights

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int32]

SKIN, EYE, MOUTH, HAIR, CLOTH = range(5)
NO_TEXTURE = -1

# Per material: wrap of red, green, blue (diffuse light ends where the cosine is minus that, not at 0);
# broad highlight's strength; narrow highlight's strength. Found by eye, as all numbers here that name no source.
BROAD, NARROW = 3, 4
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
# Squarings of the cosine in the broad highlight, per material (4 make the power 16); the narrow one has three more.
BROADNESS = np.array([4, 4, 5, 5, 3], np.int32)
# Light bleeds through skin: shadows lose red last.
BLEED = np.array([0.22, 0.08, 0.0], np.float32)
CHANNELS = 6  # of a texel: albedo red, green, blue, gloss, and relief as slopes along x and y
FLAT = np.array([1.0, 0.0, 0.0], np.float32)  # gloss and relief where there is no texture
SKY_ON_HAIR = np.float32(0.6)  # place between ground and sky from which hair gets ambient light, whatever its normal
HAIR_DIFFUSE = np.float32(0.7)
HAIR_WHITE, HAIR_TINTED = np.float32(0.10), np.float32(1.7)  # of hair's highlight: the light's colour, the hair's
FACING, GLANCING = np.float32(0.35), np.float32(0.65)  # of a highlight's Fresnel term, head on and added at the rim
TURNED_AWAY = -0.1  # cosine of the light under which nothing shines
DARK = 0.01  # visibility under which a lamp is not worth the sums
TINY = np.float32(1e-6)  # keeps lengths from being zero


class Geometry(NamedTuple):
    """What is seen: a posed person's vertices in space and on the screen.

    Attributes:
        screen: (V, 3) projected vertices, samples: x, y, nearness.
        triangles: (T, 3) vertex indices.
        points: (V, 3) cm.
        normals: (V, 3) unit normals; tangents for hair.
        eye_z: distance of the camera on the z axis, cm.
    """

    screen: Floats
    triangles: Ints
    points: Floats
    normals: Floats
    eye_z: float


class Surface(NamedTuple):
    """What vertices and triangles are made of.

    Attributes:
        colours: (V, 3) albedo of triangles without texture.
        corner_uv: (T, 3, 2) texture coordinates.
        layers: (T,) texture layer or `NO_TEXTURE`.
        materials: (T,) row of `MATERIALS`.
        textures: (L, S, S, 6) albedo, gloss, and relief as slopes along x and y.
    """

    colours: Floats
    corner_uv: Floats
    layers: Ints
    materials: Ints
    textures: Floats


class Light(NamedTuple):
    """What falls on vertices.

    Attributes:
        rows: (6, 3) key direction, rim direction, key, rim, sky and ground radiance.
        open_to: (V, 3) visibility 0..1 of the sky, the key light and the rim light.
    """

    rows: Floats
    open_to: Floats


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
def shade(ids: Ints, geometry: Geometry, surface: Surface, light: Light, picture: Floats) -> None:
    """Writes the light of every covered pixel into `picture`.

    Args:
        ids: (H, W) visible triangle or -1.
        geometry, surface, light: of the person.
        picture: (H, W, 3) linear light, updated in place.
    """
    triangles, points, normals = geometry.triangles, geometry.points, geometry.normals
    materials, lights = surface.materials, light.rows
    texel = np.zeros(CHANNELS, np.float32)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            wa, wb, wc = perspective_weights(geometry.screen, a, b, c, x + 0.5, y + 0.5)
            if surface.layers[t] >= 0:
                u = _mix(surface.corner_uv[t], 0, 1, 2, wa, wb, wc, 0)
                v = _mix(surface.corner_uv[t], 0, 1, 2, wa, wb, wc, 1)
                _sample(surface.textures, surface.layers[t], u, v, texel)
            else:
                for k in range(3):
                    texel[k] = _mix(surface.colours, a, b, c, wa, wb, wc, k)
                texel[3:] = FLAT
            # The texture's relief tilts the normal; its slopes rise along x and y.
            nx = _mix(normals, a, b, c, wa, wb, wc, 0) - texel[4]
            ny = _mix(normals, a, b, c, wa, wb, wc, 1) - texel[5]
            nz = _mix(normals, a, b, c, wa, wb, wc, 2)
            scale = np.float32(1.0) / (np.sqrt(nx * nx + ny * ny + nz * nz) + TINY)
            vx, vy = -_mix(points, a, b, c, wa, wb, wc, 0), -_mix(points, a, b, c, wa, wb, wc, 1)
            vz = np.float32(geometry.eye_z) - _mix(points, a, b, c, wa, wb, wc, 2)
            far = np.float32(1.0) / np.sqrt(vx * vx + vy * vy + vz * vz)
            normal, view = (nx * scale, ny * scale, nz * scale), (vx * far, vy * far, vz * far)
            for source in range(3):  # the sky, then the lamps
                open_to = _mix(light.open_to, a, b, c, wa, wb, wc, source)
                if source == 0:
                    _add_sky(materials[t], normal, texel, open_to, lights, picture[y, x])
                elif open_to > DARK:
                    _add_light(materials[t], normal, view, texel, open_to, lights, source - 1, picture[y, x])


@njit(cache=True, nogil=True, fastmath=True)
def _add_sky(material, normal, texel, open_to, lights, out):  # type: ignore[no-untyped-def]
    """Ambient light between ground and sky, darkened where the surroundings are hidden; begins a pixel."""
    up = SKY_ON_HAIR if material == HAIR else np.float32(0.5) + np.float32(0.5) * normal[1]
    hidden = open_to * (1 - open_to) if material <= MOUTH else np.float32(0.0)
    for k in range(3):
        ambient = lights[5, k] + (lights[4, k] - lights[5, k]) * up
        out[k] = texel[k] * ambient * (open_to + BLEED[k] * hidden)


@njit(cache=True, nogil=True, fastmath=True)
def _add_light(material, normal, view, texel, open_to, lights, light, out):  # type: ignore[no-untyped-def]
    """One lamp's diffuse light and highlights.

    Highlights are powers of the cosine between the normal and the half vector (Blinn and Phong), by repeated squaring;
    hair's `normal` is its tangent, so it has sines of those angles instead of cosines.
    """
    lx, ly, lz = lights[light, 0], lights[light, 1], lights[light, 2]
    hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
    norm = np.float32(1.0) / (np.sqrt(hx * hx + hy * hy + hz * hz) + TINY)
    cosine = normal[0] * lx + normal[1] * ly + normal[2] * lz
    shine = (normal[0] * hx + normal[1] * hy + normal[2] * hz) * norm
    if material == HAIR:
        diffuse = HAIR_DIFFUSE * np.sqrt(max(1 - cosine * cosine, np.float32(0.0)))
        glow = np.sqrt(max(1 - shine * shine, np.float32(0.0)))
    else:
        diffuse, glow = cosine, max(shine, np.float32(0.0))
    for _ in range(BROADNESS[material]):
        glow *= glow
    row = MATERIALS[material]
    if material == HAIR:
        glow *= row[BROAD] * open_to
        for k in range(3):
            radiance = lights[2 + light, k]
            out[k] += radiance * (texel[k] * diffuse * open_to + glow * (HAIR_WHITE + HAIR_TINTED * texel[k]))
        return
    glancing = 1 - max(normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2], np.float32(0.0))
    narrow = glow * glow
    narrow *= narrow
    narrow *= narrow
    fresnel = FACING + GLANCING * glancing * glancing * glancing
    wet = texel[3] * open_to * np.float32(0.5) * (row[BROAD] * fresnel * glow + row[NARROW] * narrow)
    if cosine < TURNED_AWAY:
        wet = np.float32(0.0)
    hidden = open_to * (1 - open_to)  # largest at the edge of a shadow, where light bleeds in
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
